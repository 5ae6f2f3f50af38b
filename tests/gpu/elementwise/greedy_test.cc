#include <cmath>
#include <limits>

#include "kernels/sampling/cuda.h"
#include "kernels/sampling/sampling.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

using GreedyTest = GpuTest;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// `logits` [rows, vocab]; between the rows lie larger values that must not be seen.
void Check(ActivationType type, int rows, int vocab, const std::vector<float>& logits) {
  const int stride = (vocab + 7) / 8 * 8 + 8;
  std::vector<float> padded(static_cast<size_t>(rows) * stride, 1e4f);
  for (int row = 0; row < rows; ++row) {
    std::copy_n(logits.begin() + static_cast<size_t>(row) * vocab, vocab,
                padded.begin() + static_cast<size_t>(row) * stride);
  }
  const DeviceArray<uint16_t> input(ToActivations(type, padded));
  const std::vector<float> seen = Rounded(type, padded);
  const DeviceArray<int32_t> tokens(rows);
  const DeviceArray<float> logprobs(rows);
  ASSERT_CUDA(SampleGreedyRows({.type = type,
                                .logits = input.data(),
                                .stride = stride,
                                .tokens = tokens.data(),
                                .logprobs = logprobs.data(),
                                .rows = rows,
                                .vocab = vocab}));
  const std::vector<int32_t> token = tokens.Download();
  const std::vector<float> logprob = logprobs.Download();
  for (int row = 0; row < rows; ++row) {
    const std::span<const float> one(seen.data() + static_cast<size_t>(row) * stride, vocab);
    ASSERT_EQ(token[row], kernels::SampleGreedy(one)) << "row " << row << " of " << vocab;
    if (token[row] < 0) {
      EXPECT_TRUE(std::isnan(logprob[row]));
      continue;
    }
    const float expected = kernels::TokenLogprobs(one, token[row], 0).chosen.logprob;
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(logprob[row])) << "row " << row;
    } else {
      // Every exponential is within 2^-20 (|x| up to 88), the sum of positive terms within 2^-19.
      EXPECT_NEAR(logprob[row], expected, 0x1p-18 * (1 + std::fabs(expected))) << "row " << row;
    }
  }
}

TEST_F(GreedyTest, MatchesTheCpu) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int vocab : Axis({1, 7, 1000, 32003, 128256, 151936})) {
      for (const int rows : {1, 3, 20}) {
        Check(type, rows, vocab, RandomNormal(static_cast<size_t>(rows) * vocab, vocab, 4.0f));
      }
    }
  }
}

TEST_F(GreedyTest, TiesNanAndInfinities) {
  constexpr int kVocab = 40000;
  constexpr int kRows = 9;
  std::vector<float> logits = RandomNormal(kRows * kVocab, 8);
  const auto row = [&](int index) { return logits.data() + index * kVocab; };
  row(0)[39999] = row(0)[20000] = row(0)[777] = 50.0f;  // ties over blocks
  std::fill_n(row(1), kVocab, -3.5f);                   // all tie
  std::fill_n(row(2), kVocab, -kInfinity);              // nothing to choose
  std::fill_n(row(3), kVocab, kNan);
  std::fill_n(row(4), kVocab, -kInfinity);
  row(4)[31234] = -7.0f;
  row(5)[5] = kNan;
  row(5)[6] = 100.0f;
  row(6)[12345] = kInfinity;
  row(7)[3] = -kInfinity;
  std::fill_n(row(8), kVocab, -60000.0f);
  row(8)[39998] = 60000.0f;
  Check(ActivationType::kFp16, kRows, kVocab, logits);
  Check(ActivationType::kBf16, kRows, kVocab, logits);
}

}  // namespace
}  // namespace baton::kernels::cuda
