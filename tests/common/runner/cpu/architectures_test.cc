// Decoder families beside Llama: small fixtures with random weights and reference values.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

// Largest rounding error of a value as large as its group's root mean square, relative to it: half
// a unit of the last mantissa bit; int8 and int4 spread their steps over the group's range, which
// is about 5 times the root mean square from end to end in these fixtures (16 or 32 values).
struct KvRounding {
  KvFormats formats;
  double error;
};
constexpr std::array kKvRounding = {
    KvRounding{{KvFormat::kFp16, KvFormat::kFp16}, 1.0 / 2048},
    KvRounding{{KvFormat::kBf16, KvFormat::kBf16}, 1.0 / 256},
    KvRounding{{KvFormat::kInt8, KvFormat::kInt8}, 2.5 / 254},
    KvRounding{{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, 1.0 / 16},
    KvRounding{{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}, 1.0 / 8},
    KvRounding{{KvFormat::kInt8, KvFormat::kInt4}, 4.0 / 30},
    KvRounding{{KvFormat::kInt4, KvFormat::kInt4}, 4.0 / 30},
};

// The error of a log-probability is proportional to that of K and V: over all seven formats, whose
// errors lie 270-fold apart, their ratio was measured within 0.31 and 0.47 (qwen2), 0.39 and 0.95
// (qwen3), 0.54 and 0.82 (mistral), 0.52 and 0.80 (llama3_rope) nats. The bounds are a quarter more
// than the largest: a format that loses one bit doubles its error and fails.
struct Fixture {
  const char* name;
  double sensitivity;  // mean |Δ log-probability| in nats per unit of KvRounding::error
};
constexpr Fixture kFixtures[] = {
    {"qwen2", 0.6},         // biases of Q, K and V
    {"qwen3", 1.2},         // norms of the heads of Q and K; head_dim is not hidden / heads
    {"mistral", 1.0},       // a window of 48 tokens
    {"llama3_rope", 1.0}};  // Llama 3's rotary scaling, three shards

class ArchitectureGolden : public ::testing::TestWithParam<Fixture> {
 protected:
  void SetUp() override {
    const std::string folder = "arch/" + std::string(GetParam().name);
    if (!test::HaveModel(folder)) GTEST_SKIP() << "models/" << folder << " is not here";
    model_ = test::LoadModel(test::ModelFolder(folder), WeightFormat::kFp32);
    golden_ = test::LoadArchitectureGolden(GetParam().name);
  }

  std::shared_ptr<const CpuModel> model_;
  test::ArchitectureGolden golden_;
};

TEST_P(ArchitectureGolden, TokensAndLikelihoodEqualTheReference) {
  const auto runner = test::MakeRunner(model_, {KvFormat::kFp16, KvFormat::kFp16}, 32,
                                       test::PagesFor(golden_.prompts, 32), 2);
  const std::vector<test::Generated> generated =
      test::GenerateGreedy(*runner, golden_.prompts, 100);
  ASSERT_EQ(golden_.prompts.size(), 3u);
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    test::ExpectGolden(golden_.prompts[i], generated[i]);
  }
  EXPECT_NEAR(test::MeanNegativeLogLikelihood(*runner, golden_.scored), golden_.nll, 1e-3);
}

TEST_P(ArchitectureGolden, LogProbabilitiesStayNearTheReferenceInEveryKvFormat) {
  for (const KvRounding& kv : kKvRounding) {
    const auto runner = test::MakeRunner(model_, kv.formats, 16, 736 / 16);
    EXPECT_LE(test::MeanLogprobError(*runner, golden_.prompts), GetParam().sensitivity * kv.error)
        << kernels::KvFormatsName(kv.formats);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ArchitectureGolden, ::testing::ValuesIn(kFixtures),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace baton
