// Every launch function names what it refuses.
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/activation/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/embedding/cuda.h"
#include "kernels/gemm/cuda.h"
#include "kernels/norm/cuda.h"
#include "kernels/quantize/cuda.h"
#include "kernels/sampling/cuda.h"

namespace baton::kernels::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::IsNull;

TEST(ProblemTest, OtherDevicesAreRefusedByName) {
  DeviceTraits traits{.name = "NVIDIA A100", .compute_major = 8, .compute_minor = 0};
  EXPECT_THAT(DeviceProblem(traits), HasSubstr("'NVIDIA A100': compute capability 8.0"));
  traits.compute_major = 10;
  EXPECT_THAT(DeviceProblem(traits), HasSubstr("10.0, expected 9.0"));
  traits.compute_major = 9;
  EXPECT_EQ(DeviceProblem(traits), "");
}

TEST(ProblemTest, Rows) {
  RmsNormParams norm{.x_stride = 64, .rows = 3, .dim = 64};
  EXPECT_THAT(RmsNormProblem(norm), IsNull());
  norm.rows = -1;
  EXPECT_THAT(RmsNormProblem(norm), HasSubstr("rows"));
  norm.rows = 0;
  norm.dim = 60;
  EXPECT_THAT(RmsNormProblem(norm), HasSubstr("dim: expected a positive multiple of 8"));
  norm.dim = 72;
  EXPECT_THAT(RmsNormProblem(norm), HasSubstr("stride"));
  norm.dim = norm.x_stride = kMaxQuantizedRow + 8;
  EXPECT_THAT(RmsNormProblem(norm), HasSubstr("at most 32768"));

  QuantizeFp8RowsParams quantize{.x_stride = 60, .rows = 1, .dim = 56};
  EXPECT_THAT(QuantizeFp8RowsProblem(quantize), HasSubstr("stride"));

  SwiGluParams swiglu{.in_stride = 128, .rows = 1, .dim = 64};
  EXPECT_THAT(SwiGluProblem(swiglu), HasSubstr("exactly one"));
  swiglu.out = &swiglu;
  EXPECT_THAT(SwiGluProblem(swiglu), IsNull());

  EmbeddingParams embedding{.rows = 1, .vocab = 0, .dim = 64};
  EXPECT_THAT(EmbeddingProblem(embedding), HasSubstr("vocab"));
  embedding.vocab = 10;
  EXPECT_THAT(EmbeddingProblem(embedding), IsNull());

  GreedyParams greedy{.stride = 100, .rows = 1, .vocab = 97};
  EXPECT_THAT(GreedyProblem(greedy), HasSubstr("stride"));
  greedy.stride = 104;
  EXPECT_THAT(GreedyProblem(greedy), IsNull());
}

TEST(ProblemTest, Products) {
  GemmF16Params f16{.m = 1, .n = 64, .k = 128, .lda = 128, .ldo = 64};
  EXPECT_THAT(GemmF16Problem(f16), IsNull());
  f16.n = 65;
  EXPECT_THAT(GemmF16Problem(f16), HasSubstr("n: expected a positive multiple of 64"));
  f16.n = 64;
  f16.lda = 100;
  EXPECT_THAT(GemmF16Problem(f16), HasSubstr("lda"));
  f16.lda = 128;
  f16.m = 0;
  EXPECT_THAT(GemmF16Problem(f16), HasSubstr("m: expected at least 1"));
  GemmFp8Params fp8{.m = 1, .n = 64, .k = 32, .ldo = 64};
  EXPECT_THAT(GemmFp8Problem(fp8), HasSubstr("k: expected a positive multiple of 64"));
  fp8.k = 64;
  fp8.ldo = 60;
  EXPECT_THAT(GemmFp8Problem(fp8), HasSubstr("ldo"));
}

}  // namespace
}  // namespace baton::kernels::cuda
