#include "tests/common/runner/cpu/golden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton::test {
namespace {

nlohmann::json ReadJson(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

void Append(const nlohmann::json& prompts, std::vector<GoldenPrompt>& golden) {
  for (const nlohmann::json& p : prompts) {
    GoldenPrompt prompt;
    prompt.prompt = p.at("prompt_ids").get<std::vector<int32_t>>();
    prompt.greedy = p.at("greedy").get<std::vector<int32_t>>();
    prompt.logprobs = p.at("logprobs").get<std::vector<float>>();
    prompt.margins = p.at("margins").get<std::vector<float>>();
    if (p.contains("first_top8")) {
      prompt.first_top = p.at("first_top8").get<std::vector<std::pair<int32_t, float>>>();
    }
    golden.push_back(std::move(prompt));
  }
}

int PagesOf(const GoldenPrompt& prompt, int page_tokens) {
  const auto tokens = static_cast<int>(prompt.prompt.size() + prompt.greedy.size());
  return (tokens + page_tokens - 1) / page_tokens;
}

}  // namespace

std::filesystem::path ModelFolder(const std::string& name) {
  return std::filesystem::path(BATON_SHARED_DIR) / "models" / name;
}

bool HaveModel(const std::string& name) { return std::filesystem::exists(ModelFolder(name)); }

std::vector<GoldenPrompt> LoadGolden(const std::string& model) {
  std::vector<GoldenPrompt> golden;
  for (const char* file : {"golden.json", "golden_long.json"}) {
    Append(ReadJson(ModelFolder(file)).at(model).at("prompts"), golden);
  }
  return golden;
}

ArchitectureGolden LoadArchitectureGolden(const std::string& name) {
  const nlohmann::json json = ReadJson(ModelFolder("arch/" + name) / "golden.json");
  ArchitectureGolden golden;
  Append(json.at("prompts"), golden.prompts);
  golden.scored = json.at("nll_tokens").get<std::vector<int32_t>>();
  golden.nll = json.at("nll").get<double>();
  return golden;
}

std::shared_ptr<const CpuModel> LoadModel(const std::filesystem::path& folder,
                                          WeightFormat format) {
  const auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  BATON_CHECK(checkpoint.ok());
  ThreadPool pool(1);
  const auto model = LoadCpuModel(*checkpoint, {.format = format}, pool);
  EXPECT_TRUE(model.ok()) << ToString(model.status());
  BATON_CHECK(model.ok());
  return *model;
}

std::unique_ptr<CpuRunner> MakeRunner(std::shared_ptr<const CpuModel> model, kernels::KvFormats kv,
                                      int page_tokens, int page_count, int threads) {
  auto runner = CpuRunner::Create(
      std::move(model),
      {.resident = kv, .page_tokens = page_tokens, .page_count = page_count, .threads = threads});
  EXPECT_TRUE(runner.ok()) << ToString(runner.status());
  BATON_CHECK(runner.ok());
  return *std::move(runner);
}

int PagesFor(std::span<const GoldenPrompt> prompts, int page_tokens) {
  int pages = 0;
  for (const GoldenPrompt& prompt : prompts) pages += PagesOf(prompt, page_tokens);
  return pages;
}

std::vector<Generated> GenerateGreedy(CpuRunner& runner, std::span<const GoldenPrompt> prompts,
                                      int chunk) {
  return GenerateSampled(runner, prompts, chunk, {.temperature = 0.0f});
}

std::vector<Generated> GenerateSampled(CpuRunner& runner, std::span<const GoldenPrompt> prompts,
                                       int chunk, SamplingParams sampling) {
  sampling.want_logprob = true;
  sampling.top_logprobs = 8;
  struct Sequence {
    std::vector<int32_t> tokens;
    std::vector<int32_t> pages;
    size_t computed = 0;
  };
  std::vector<Sequence> sequences;
  std::vector<Generated> generated(prompts.size());
  int32_t next_page = 0;
  for (const GoldenPrompt& prompt : prompts) {
    Sequence sequence{.tokens = prompt.prompt};
    sequence.pages.resize(static_cast<size_t>(PagesOf(prompt, runner.kv().page_tokens)));
    // Descending, so that a page number is never the page's place in the sequence.
    next_page += static_cast<int32_t>(sequence.pages.size());
    for (size_t i = 0; i < sequence.pages.size(); ++i) {
      sequence.pages[i] = next_page - 1 - static_cast<int32_t>(i);
    }
    sequences.push_back(std::move(sequence));
  }
  for (;;) {
    Batch batch;
    std::vector<size_t> owners;
    for (size_t i = 0; i < sequences.size(); ++i) {
      Sequence& s = sequences[i];
      if (generated[i].tokens.size() == prompts[i].greedy.size()) continue;
      const size_t left = s.tokens.size() - s.computed;
      const size_t count = chunk == 0 ? left : std::min(left, static_cast<size_t>(chunk));
      batch.entries.push_back({.tokens = std::span(s.tokens).subspan(s.computed, count),
                               .first_position = static_cast<int>(s.computed),
                               .pages = s.pages,
                               .sample = count == left,
                               .sampling = sampling,
                               .history = s.tokens,
                               .prompt_tokens = static_cast<int>(prompts[i].prompt.size())});
      owners.push_back(i);
    }
    if (batch.entries.empty()) return generated;
    const auto result = runner.Run(batch);
    EXPECT_TRUE(result.ok()) << ToString(result.status());
    BATON_CHECK(result.ok());
    for (size_t e = 0; e < owners.size(); ++e) {
      const size_t i = owners[e];
      sequences[i].computed += batch.entries[e].tokens.size();
      if (!batch.entries[e].sample) continue;
      const SampledToken& sampled = *result->sampled[e];
      if (generated[i].tokens.empty()) generated[i].first_top = sampled.top;
      generated[i].tokens.push_back(sampled.token);
      generated[i].logprobs.push_back(sampled.logprob);
      sequences[i].tokens.push_back(sampled.token);
    }
  }
}

void ExpectGolden(const GoldenPrompt& golden, const Generated& generated) {
  constexpr float kTolerance = 2e-2f;
  SCOPED_TRACE(fmt::format("prompt of {} tokens", golden.prompt.size()));
  ASSERT_EQ(generated.tokens.size(), golden.greedy.size());
  for (size_t i = 0; i < golden.first_top.size(); ++i) {
    EXPECT_NEAR(generated.first_top[i].logprob, golden.first_top[i].second, kTolerance);
  }
  for (size_t step = 0; step < golden.greedy.size(); ++step) {
    if (generated.tokens[step] != golden.greedy[step]) {
      EXPECT_LT(golden.margins[step], kTolerance)
          << "step " << step << ": token " << generated.tokens[step] << ", expected "
          << golden.greedy[step];
      return;
    }
    EXPECT_NEAR(generated.logprobs[step], golden.logprobs[step], kTolerance) << "step " << step;
  }
}

double MeanNegativeLogLikelihood(CpuRunner& runner, std::span<const int32_t> tokens) {
  std::vector<int32_t> pages(static_cast<size_t>(runner.kv().page_count));
  std::iota(pages.begin(), pages.end(), 0);
  const auto scores = runner.Score(tokens, pages);
  BATON_CHECK(scores.ok());
  return -std::accumulate(scores->begin(), scores->end(), 0.0) /
         static_cast<double>(scores->size());
}

double MeanLogprobError(CpuRunner& runner, std::span<const GoldenPrompt> prompts) {
  double sum = 0;
  int count = 0;
  std::vector<int32_t> pages(static_cast<size_t>(runner.kv().page_count));
  std::iota(pages.begin(), pages.end(), 0);
  for (const GoldenPrompt& golden : prompts) {
    std::vector<int32_t> tokens = golden.prompt;
    tokens.insert(tokens.end(), golden.greedy.begin(), golden.greedy.end());
    const auto scores = runner.Score(tokens, pages);
    BATON_CHECK(scores.ok());
    for (size_t i = 0; i < golden.greedy.size(); ++i) {
      sum += std::abs((*scores)[golden.prompt.size() - 1 + i] - golden.logprobs[i]);
      ++count;
    }
  }
  return sum / count;
}

}  // namespace baton::test
