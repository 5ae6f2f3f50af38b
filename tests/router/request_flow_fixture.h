#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "router/request_flow.h"
#include "tests/router/fake_codec.h"

namespace baton {

// A flow with its legs and its owner played by the test: what it sends and asks is recorded.
class RequestFlowTest : public ::testing::Test, public WorkerLegs, public RequestOwner {
 protected:
  struct Opened {
    std::string worker;
    v1::PrefillStart prefill;
    v1::DecodeStart decode;
  };

  static WorkerRef Worker(const std::string& id) {
    auto worker = std::make_shared<v1::WorkerDescriptor>();
    worker->mutable_identity()->set_worker_id(id);
    worker->mutable_identity()->set_incarnation(100);
    worker->set_rpc_endpoint(id + ":rpc");
    worker->set_kv_endpoint(id + ":kv");
    return worker;
  }

  void Make(uint32_t max_tokens = 8, std::vector<std::string> stops = {}) {
    RequestSpec spec;
    spec.worker.set_request_id("r");
    for (int token : {10, 11, 12}) spec.worker.add_prompt(token);
    spec.worker.mutable_sampling()->set_max_tokens(max_tokens);
    spec.worker.mutable_sampling()->set_want_logprobs(true);
    spec.stops = std::move(stops);
    Answer answer(*OutputText::Create(spec, &codec_), 256, true, now_);
    flow_.emplace(RequestFlow::Config{.max_retries = 2}, std::move(spec), std::move(answer), *this,
                  *this);
  }
  // A request on its first attempt, with p0 and d0.
  void Start(uint32_t max_tokens = 8, std::vector<std::string> stops = {}) {
    Make(max_tokens, std::move(stops));
    flow_->Dispatch({p0_, max_tokens > 1 ? d0_ : nullptr}, TransferId{1, 2});
  }

  // Messages of the workers.
  void FirstToken(uint32_t attempt, int32_t token,
                  v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED) {
    v1::PrefillResponse m;
    m.mutable_first_token()->set_attempt(attempt);
    m.mutable_first_token()->set_token_id(token);
    m.mutable_first_token()->set_finish_reason(reason);
    m.mutable_first_token()->set_queue_ms(3);
    m.mutable_first_token()->mutable_logprobs()->set_chosen(-0.5f);
    flow_->OnPrefill(m, now_);
  }
  void Started(uint32_t attempt) {
    v1::PrefillResponse m;
    m.mutable_started()->set_attempt(attempt);
    flow_->OnPrefill(m, now_);
  }
  void Refused(uint32_t attempt, v1::RefuseCode code) {
    v1::PrefillResponse m;
    m.mutable_refused()->set_attempt(attempt);
    m.mutable_refused()->set_code(code);
    if (code == v1::REFUSE_CODE_CONTRACT) {
      m.mutable_refused()->add_mismatches()->set_field("geometry.layers");
    }
    flow_->OnPrefill(m, now_);
  }
  void Delivered(uint32_t attempt) {
    v1::PrefillResponse m;
    m.mutable_delivered()->set_attempt(attempt);
    m.mutable_delivered()->set_pack_ms(7);
    flow_->OnPrefill(m, now_);
  }
  void PrefillEnds(absl::Status status) { flow_->OnPrefillClosed(status, now_); }
  void Reserved(uint32_t attempt) {
    v1::DecodeResponse m;
    m.mutable_reserved()->set_attempt(attempt);
    flow_->OnDecode(m, now_);
  }
  void Committed(uint32_t attempt, int32_t first) {
    v1::DecodeResponse m;
    m.mutable_committed()->set_attempt(attempt);
    m.mutable_committed()->set_first_token(first);
    m.mutable_committed()->set_slabs(2);
    m.mutable_committed()->set_bytes_wire(512);
    m.mutable_committed()->set_wire_format(v1::KV_FORMAT_INT8);
    flow_->OnDecode(m, now_);
  }
  void Token(uint32_t attempt, uint32_t index, int32_t token) {
    v1::DecodeResponse m;
    m.mutable_token()->set_attempt(attempt);
    m.mutable_token()->set_index(index);
    m.mutable_token()->set_token_id(token);
    flow_->OnDecode(m, now_);
  }
  void Finished(uint32_t attempt, v1::FinishReason reason) {
    v1::DecodeResponse m;
    m.mutable_finished()->set_attempt(attempt);
    m.mutable_finished()->set_finish_reason(reason);
    flow_->OnDecode(m, now_);
  }
  void DecodeEnds(absl::Status status) { flow_->OnDecodeClosed(status, now_); }

  // What the client saw.
  std::vector<int32_t> Tokens() const {
    std::vector<int32_t> tokens;
    for (const auto& r : responses_) {
      if (!r.has_chunk()) continue;
      EXPECT_EQ(r.chunk().first_index(), tokens.size());
      tokens.insert(tokens.end(), r.chunk().token_ids().begin(), r.chunk().token_ids().end());
    }
    return tokens;
  }
  std::string Text() const {
    std::string text;
    for (const auto& r : responses_) text += r.chunk().text();
    return text;
  }
  const v1::Complete& Complete() const { return responses_.back().complete(); }
  // Settled once, with this code; both legs are closed.
  void ExpectSettled(absl::StatusCode code) {
    ASSERT_TRUE(flow_->settled());
    ASSERT_EQ(settled_.size(), 1u);
    EXPECT_EQ(settled_[0].code(), code) << settled_[0];
    int completes = 0;
    for (const auto& r : responses_) completes += r.has_complete();
    EXPECT_EQ(completes, code == absl::StatusCode::kOk ? 1 : 0);
  }
  const v1::PrefillStart& LastPrefillStart() const { return prefill_opened_.back().prefill; }
  const v1::DecodeStart& LastDecodeStart() const { return decode_opened_.back().decode; }
  const v1::PrefillRebind& LastPrefillRebind() const { return prefill_sent_.back().rebind(); }
  const v1::DecodeRebind& LastDecodeRebind() const { return decode_sent_.back().rebind(); }

  // The workers offered, in order, where none is given.
  std::deque<WorkerRef> prefills_, decodes_;
  absl::Status no_worker_ = ResourceExhausted("full");

  const FakeCodec codec_;
  const WorkerRef p0_ = Worker("p0"), p1_ = Worker("p1"), d0_ = Worker("d0"), d1_ = Worker("d1");
  TimePoint now_{std::chrono::seconds(1)};
  std::optional<RequestFlow> flow_;
  std::vector<Opened> prefill_opened_, decode_opened_;
  std::vector<v1::PrefillRequest> prefill_sent_;
  std::vector<v1::DecodeRequest> decode_sent_;
  std::vector<v1::CancelReason> prefill_cancelled_, decode_cancelled_;
  std::vector<std::set<WorkerKey>> excluded_;
  int requeued_ = 0;
  std::vector<v1::GenerateResponse> responses_;
  std::vector<absl::Status> settled_;

 private:
  void OpenPrefill(const WorkerRef& worker, v1::PrefillRequest first) override {
    prefill_opened_.push_back({worker->identity().worker_id(), first.start(), {}});
  }
  void OpenDecode(const WorkerRef& worker, v1::DecodeRequest first) override {
    decode_opened_.push_back({worker->identity().worker_id(), {}, first.start()});
  }
  void SendPrefill(v1::PrefillRequest message) override { prefill_sent_.push_back(message); }
  void SendDecode(v1::DecodeRequest message) override { decode_sent_.push_back(message); }
  void CancelPrefill(v1::CancelReason reason) override { prefill_cancelled_.push_back(reason); }
  void CancelDecode(v1::CancelReason reason) override { decode_cancelled_.push_back(reason); }
  absl::StatusOr<WorkerPair> Pick(const PairQuery& query) override {
    excluded_.push_back(*query.excluded);
    const auto take = [](const WorkerRef& given, std::deque<WorkerRef>& offered) {
      if (given != nullptr || offered.empty()) return given;
      WorkerRef worker = offered.front();
      offered.pop_front();
      return worker;
    };
    WorkerPair pair{take(query.prefill, prefills_), nullptr};
    if (query.needs_decode) pair.decode = take(query.decode, decodes_);
    if (pair.prefill == nullptr || (query.needs_decode && pair.decode == nullptr)) {
      return no_worker_;
    }
    return pair;
  }
  void Requeue() override { ++requeued_; }
  void Deliver(v1::GenerateResponse response) override { responses_.push_back(response); }
  void Settled(const absl::Status& status) override { settled_.push_back(status); }
};

}  // namespace baton
