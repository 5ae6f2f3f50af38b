#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/runner/cpu/cpu_model.h"
#include "common/runner/cpu/cpu_runner.h"

namespace baton::test {

// Reference values for one prompt, computed by another implementation in single precision.
struct GoldenPrompt {
  std::vector<int32_t> prompt;
  std::vector<int32_t> greedy;  // continuation
  std::vector<float> logprobs;  // of `greedy`
  std::vector<float> margins;   // between the best and the second-best logit, per step
  std::vector<std::pair<int32_t, float>> first_top;  // most probable first tokens
};

std::filesystem::path ModelFolder(const std::string& name);
bool HaveModel(const std::string& name);

// Prompts of golden.json and golden_long.json together.
std::vector<GoldenPrompt> LoadGolden(const std::string& model);
struct ArchitectureGolden {
  std::vector<GoldenPrompt> prompts;
  std::vector<int32_t> scored;  // tokens whose likelihood is given
  double nll = 0;               // mean over `scored` from the second token on
};
ArchitectureGolden LoadArchitectureGolden(const std::string& name);

std::shared_ptr<const CpuModel> LoadModel(const std::filesystem::path& folder, WeightFormat format);
std::unique_ptr<CpuRunner> MakeRunner(std::shared_ptr<const CpuModel> model, kernels::KvFormats kv,
                                      int page_tokens, int page_count, int threads = 1);

struct Generated {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<TokenProbability> first_top;
};

// Greedy continuations of all prompts together: each step holds a prefill chunk of at most `chunk`
// tokens (0 = whole) of each prompt not yet computed and one decoded token of the others.
std::vector<Generated> GenerateGreedy(CpuRunner& runner, std::span<const GoldenPrompt> prompts,
                                      int chunk);
// The same with other sampling parameters; log-probabilities are asked for in any case.
std::vector<Generated> GenerateSampled(CpuRunner& runner, std::span<const GoldenPrompt> prompts,
                                       int chunk, SamplingParams sampling);

// Pages that GenerateGreedy needs.
int PagesFor(std::span<const GoldenPrompt> prompts, int page_tokens);

// Fails the test where `generated` differs from the reference before a step whose margin is below
// 0.02, or a log-probability differs by more than 0.02.
void ExpectGolden(const GoldenPrompt& golden, const Generated& generated);

// Mean |difference| of the log-probabilities of the golden continuations, each token given the
// reference's tokens before it.
double MeanLogprobError(CpuRunner& runner, std::span<const GoldenPrompt> prompts);

// Of the tokens from the second on, computed as one chunk.
double MeanNegativeLogLikelihood(CpuRunner& runner, std::span<const int32_t> tokens);

}  // namespace baton::test
