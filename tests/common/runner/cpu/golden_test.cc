#include "tests/common/runner/cpu/golden.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr kernels::KvFormats kFp16Kv = {kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};

struct GoldenCase {
  const char* model;
  int page_tokens;
  int chunk;  // 0 = whole
  int threads;
};

class Golden : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(Golden, GreedyTokensEqualTheReference) {
  const GoldenCase& c = GetParam();
  if (!test::HaveModel(c.model)) GTEST_SKIP() << test::ModelFolder(c.model) << " is not here";
  const std::vector<test::GoldenPrompt> prompts = test::LoadGolden(c.model);
  ASSERT_EQ(prompts.size(), 22u);
  const auto runner =
      test::MakeRunner(test::LoadModel(test::ModelFolder(c.model), WeightFormat::kFp32), kFp16Kv,
                       c.page_tokens, test::PagesFor(prompts, c.page_tokens), c.threads);
  const std::vector<test::Generated> generated = test::GenerateGreedy(*runner, prompts, c.chunk);
  for (size_t i = 0; i < prompts.size(); ++i) test::ExpectGolden(prompts[i], generated[i]);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Golden,
    ::testing::Values(GoldenCase{"tiny", 16, 256, 1}, GoldenCase{"tiny", 16, 0, 2},
                      GoldenCase{"tiny", 64, 256, 2}, GoldenCase{"tiny", 64, 0, 1},
                      GoldenCase{"small", 16, 256, 1}, GoldenCase{"small", 64, 0, 2}),
    [](const auto& info) {
      return std::string(info.param.model) + "_page" + std::to_string(info.param.page_tokens) +
             "_chunk" + std::to_string(info.param.chunk) + "_threads" +
             std::to_string(info.param.threads);
    });

}  // namespace
}  // namespace baton
