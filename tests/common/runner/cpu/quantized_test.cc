#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

// Bounds of the mean |Δ log-probability| of the golden continuations, in nats. Errors of weights
// and KV are independent, so their sum bounds both together. Each is 1.2 to 1.9 times what the
// format costs on this model, and that follows from its step: KV int4 has 1/16 of int8's codes (and
// costs 14 times as much), e5m2 one mantissa bit less than e4m3 (2.4 times), bf16 three less than
// fp16 (8 times). A kernel that loses one bit of a format doubles the error and fails.
struct KvBound {
  KvFormats formats;
  double bound;
};
constexpr std::array kKvBounds = {
    KvBound{{KvFormat::kFp16, KvFormat::kFp16}, 0.0004},
    KvBound{{KvFormat::kBf16, KvFormat::kBf16}, 0.003},
    KvBound{{KvFormat::kInt8, KvFormat::kInt8}, 0.015},
    KvBound{{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, 0.035},
    KvBound{{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}, 0.08},
    KvBound{{KvFormat::kInt8, KvFormat::kInt4}, 0.06},
    KvBound{{KvFormat::kInt4, KvFormat::kInt4}, 0.19},
};

// The checkpoint is bf16: fp32 and auto hold it exactly, fp16 all but its smallest values.
struct WeightBound {
  WeightFormat format;
  double bound;
};

class Quantized : public ::testing::TestWithParam<WeightBound> {};

TEST_P(Quantized, LogProbabilitiesStayNearTheReference) {
  if (!test::HaveModel("tiny")) GTEST_SKIP() << test::ModelFolder("tiny") << " is not here";
  std::vector<test::GoldenPrompt> prompts = test::LoadGolden("tiny");
  std::erase_if(prompts, [](const test::GoldenPrompt& p) { return p.prompt.size() > 600; });
  const auto model = test::LoadModel(BATON_TINY_MODEL, GetParam().format);
  for (const KvBound& kv : kKvBounds) {
    const auto runner = test::MakeRunner(model, kv.formats, 16, 640 / 16);
    const double error = test::MeanLogprobError(*runner, prompts);
    EXPECT_LE(error, GetParam().bound + kv.bound) << kernels::KvFormatsName(kv.formats);
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, Quantized,
                         ::testing::Values(WeightBound{WeightFormat::kFp32, 0.0},
                                           WeightBound{WeightFormat::kFp16, 0.0001},
                                           WeightBound{WeightFormat::kAuto, 0.0},
                                           WeightBound{WeightFormat::kW8A8, 0.055},
                                           WeightBound{WeightFormat::kW8A8Fp8, 0.09},
                                           WeightBound{WeightFormat::kW4A16, 0.28},
                                           WeightBound{WeightFormat::kW4A8, 0.28}),
                         [](const auto& info) {
                           std::string name(NameOf(info.param.format));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace baton
