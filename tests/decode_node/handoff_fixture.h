#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "common/metrics/names.h"
#include "tests/decode_node/harness.h"

namespace baton {

inline const TransferId kTransfer = MakeTransfer(1);

// A started request with a granted Open, its prompt computed on the prefill side.
class HandoffTest : public ::testing::Test {
 protected:
  using Case = v1::HandoffResponse::MessageCase;

  void Build(Harness::Options options = {}) {
    h = std::make_unique<Harness>(options);
    prefill = std::make_unique<HandPrefill>(*h, PrefillKey());
    prefill->Hello();
  }
  void StartGranted(int tokens = 40) {
    prompt = MakePrompt(tokens);
    call = h->Start(kTransfer, prompt, 6);
    prefill->Open(kTransfer, 1, static_cast<uint32_t>(tokens));
    h->Run();
    ASSERT_NE(prefill->last(Case::kGrant), nullptr);
    prefill->Compute(prompt);
  }
  HandPrefill::Slab SendOne(uint32_t number, const kernels::SlabRange& range,
                            uint32_t attempt = 1) {
    prefill->Ask(kTransfer, attempt, number, range);
    h->Run();
    auto slab = prefill->Pack(kTransfer, attempt, number, range);
    prefill->SendSlab(slab);
    h->Run();
    return slab;
  }
  std::optional<v1::RefuseCode> Refusal() const {
    const auto* refuse = prefill->last(Case::kRefuse);
    return refuse == nullptr ? std::nullopt : std::optional(refuse->refuse().code());
  }
  double Dropped(const char* reason) {
    return h->Counter(metric::kKvSlabsDropped, {{"reason", reason}});
  }
  void ExpectDataLoss() {
    ASSERT_TRUE(call->closed.has_value());
    EXPECT_EQ(call->closed->code(), absl::StatusCode::kDataLoss);
    ASSERT_NE(prefill->last(Case::kAbort), nullptr);
    EXPECT_EQ(prefill->last(Case::kAbort)->abort().reason(), v1::ABORT_REASON_DATA_LOSS);
    EXPECT_TRUE(h->worker->idle());
  }

  std::unique_ptr<Harness> h;
  std::unique_ptr<HandPrefill> prefill;
  std::unique_ptr<FakeRouterCall> call;
  std::vector<int32_t> prompt;
};

}  // namespace baton
