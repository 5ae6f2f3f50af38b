// Real models through the whole hand-over: one prefill and one decode worker against one process.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/cluster/cluster.h"
#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

class ArchitectureHandoff : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = "arch/" + std::string(GetParam());
    if (!test::HaveModel(folder)) GTEST_SKIP() << "models/" << folder << " is not here";
    model_ = test::LoadModel(test::ModelFolder(folder), WeightFormat::kFp32);
    golden_ = test::LoadArchitectureGolden(GetParam()).prompts;
  }

  // Workers that differ in page size and hold KV in one format.
  Cluster::Options Options(KvFormats resident) const {
    Cluster::Options options;
    options.prefill = Worker(resident, 16);
    options.decode = Worker(resident, 32);
    options.oracle = [this](const v1::GenerateRequest& request) {
      return expected_.at(request.token_ids().ids_size()).tokens;
    };
    return options;
  }

  NodeOptions Worker(KvFormats resident, int page_tokens) const {
    const ModelConfig& c = model_->config;
    NodeOptions node;
    node.runner = {.geometry = {c.layers, c.kv_heads, c.head_dim},
                   .resident = resident,
                   .page_tokens = page_tokens,
                   .page_count = 2 * test::PagesFor(golden_, page_tokens),
                   .vocab_size = c.vocab_size};
    node.make_model = [model = model_, runner = node.runner] {
      return test::MakeRunner(model, runner.resident, runner.page_tokens, runner.page_count);
    };
    node.scheme = "fp32";
    node.chunk_tokens = 100;
    node.prefix_cache = false;
    node.slab_bytes = 1 << 14;
    node.arena_bytes = 1 << 16;
    node.max_context = 1024;
    return node;
  }

  // Sends all prompts at once and checks each against `expected_`.
  void Serve(Cluster::Options options, const v1::GenerateRequest& sampling) {
    Cluster cluster(std::move(options));
    std::vector<std::shared_ptr<ClientCall>> calls;
    for (const test::GoldenPrompt& prompt : golden_) {
      v1::GenerateRequest request = sampling;
      request.mutable_token_ids()->mutable_ids()->Add(prompt.prompt.begin(), prompt.prompt.end());
      request.set_max_tokens(static_cast<uint32_t>(prompt.greedy.size()));
      request.set_ignore_eos(true);
      request.set_logprobs(0);
      calls.push_back(cluster.Send(std::move(request)));
    }
    cluster.Run();
    for (const auto& call : calls) {
      const int length = call->request.token_ids().ids_size();
      ASSERT_TRUE(call->completed()) << length;
      EXPECT_EQ(call->tokens, expected_.at(length).tokens) << length;
      EXPECT_EQ(call->logprobs, expected_.at(length).logprobs) << length;
      EXPECT_EQ(call->complete().kv().tokens(), static_cast<uint32_t>(length));
      EXPECT_GT(call->complete().kv().slabs(), 0u);
    }
  }

  void ExpectAsInOneProcess(KvFormats resident, const SamplingParams& sampling) {
    const auto runner = test::MakeRunner(model_, resident, 16, test::PagesFor(golden_, 16));
    const std::vector<test::Generated> generated =
        test::GenerateSampled(*runner, golden_, 0, sampling);
    for (size_t i = 0; i < golden_.size(); ++i) {
      expected_[static_cast<int>(golden_[i].prompt.size())] = generated[i];
    }
  }

  std::shared_ptr<const CpuModel> model_;
  std::vector<test::GoldenPrompt> golden_;   // of different lengths
  std::map<int, test::Generated> expected_;  // by length of the prompt
};

// The decode worker has the KV that the prefill worker rounded: bits are equal, not only tokens.
TEST_P(ArchitectureHandoff, TwoWorkersOfOneFormatAnswerAsOneProcess) {
  v1::GenerateRequest greedy;
  greedy.set_temperature(0);
  for (const char* name : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8", "int4", "k8v4"}) {
    SCOPED_TRACE(name);
    const KvFormats formats = *kernels::ParseKvFormats(name);
    ExpectAsInOneProcess(formats, {.temperature = 0});
    if (formats == KvFormats{}) {
      for (const test::GoldenPrompt& prompt : golden_) {
        test::ExpectGolden(prompt, expected_.at(static_cast<int>(prompt.prompt.size())));
      }
    }
    Serve(Options(formats), greedy);
  }
}

// Both workers count what the other saw: the prompt, and the first token, which the prefill worker
// sampled.
TEST_P(ArchitectureHandoff, PenaltiesAndBiasActOnBothWorkers) {
  const SamplingParams greedy{.temperature = 0};
  ExpectAsInOneProcess({}, greedy);
  const std::map<int, test::Generated> plain = expected_;
  const int32_t banned = plain.begin()->second.tokens.front();

  v1::GenerateRequest request;
  request.set_temperature(0);
  (*request.mutable_logit_bias())[banned] = -100;
  request.set_repetition_penalty(1.3f);
  request.set_presence_penalty(0.5f);
  request.set_frequency_penalty(1.5f);
  SamplingParams sampling = greedy;
  sampling.repetition_penalty = 1.3f;
  sampling.presence_penalty = 0.5f;
  sampling.frequency_penalty = 1.5f;
  sampling.logit_bias = std::make_shared<const std::vector<kernels::TokenBias>>(
      std::vector<kernels::TokenBias>{{banned, -100.0f}});
  ExpectAsInOneProcess({}, sampling);
  for (const auto& [length, generated] : expected_) {
    EXPECT_NE(generated.tokens, plain.at(length).tokens);
    EXPECT_EQ(std::count(generated.tokens.begin(), generated.tokens.end(), banned), 0);
  }
  Serve(Options({}), request);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ArchitectureHandoff,
                         ::testing::Values("qwen2", "qwen3", "mistral", "llama3_rope"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace baton
