#include <gtest/gtest.h>

#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

struct QuantizedCase {
  WeightFormat weights;
  KvFormats kv;
  double bound;  // of the mean |Δ log-probability|, in nats
};

class Quantized : public ::testing::TestWithParam<QuantizedCase> {};

TEST_P(Quantized, LogProbabilitiesStayNearTheReference) {
  if (!test::HaveModel("tiny")) GTEST_SKIP() << test::ModelFolder("tiny") << " is not here";
  const std::vector<test::GoldenPrompt> prompts = test::LoadGolden("tiny");
  const auto runner = test::MakeRunner(test::LoadModel(BATON_TINY_MODEL, GetParam().weights),
                                       GetParam().kv, 16, 2048 / 16);
  const double error = test::MeanLogprobError(*runner, prompts);
  RecordProperty("mean_abs_logprob_error", std::to_string(error));
  EXPECT_LT(error, GetParam().bound);
  // A bound far above the error would no longer notice a broken format.
  EXPECT_GT(error, GetParam().bound / 20);
}

INSTANTIATE_TEST_SUITE_P(Formats, Quantized,
                         ::testing::Values(QuantizedCase{
                             WeightFormat::kFp16, {KvFormat::kFp16, KvFormat::kFp16}, 1.0}));

}  // namespace
}  // namespace baton
