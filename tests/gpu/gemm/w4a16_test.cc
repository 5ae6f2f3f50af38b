// INT4 weights × 16-bit activations against the scalar reference.
#include <cmath>
#include <limits>

#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "kernels/gemm/gemm.h"
#include "tests/gpu/gemm/product.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"
#include "tests/kernels/gemm/test_matrices.h"

namespace baton::kernels::cuda {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  int m, n, k;
};

WeightForm Form(CodeType codes, ScalarType scale, int64_t group, bool zeros) {
  return {WeightScheme::kW4A16, codes, scale, group, zeros};
}
const WeightForm kPlain = Form(CodeType::kInt4, ScalarType::kFp16, 128, false);

// Weights, activations and what the reference makes of them.
struct Case {
  Case(const WeightForm& form, ActivationType t, Shape s, bool with_bias, uint32_t seed = 1)
      : type(t),
        shape(s),
        weight(form, s.n, s.k, seed),
        a(Rounded(t, RandomNormal(static_cast<size_t>(s.m) * s.k, seed + 1))),
        bias(with_bias ? Rounded(t, RandomNormal(s.n, seed + 2)) : std::vector<float>()) {
    int sms = 0;
    OrAbort(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0), "device");
    sm_count = sms;
    const WeightView view = weight.View();
    layout = LayoutInt4Tiles({&view, 1});
    std::vector<uint8_t> tiles(layout.bytes());
    PackInt4Tiles({&view, 1}, layout, tiles);
    device_tiles = DeviceArray<uint8_t>(tiles);
    Upload();
  }
  void Upload() {
    device_a = DeviceArray<uint16_t>(ToActivations(type, a));
    device_bias = DeviceArray<uint16_t>(ToActivations(type, bias));
    out = DeviceArray<uint16_t>(static_cast<size_t>(shape.m) * shape.n);
  }
  GemmW4A16Params params() const {
    return {.m = shape.m,
            .layout = layout,
            .tiles = device_tiles.data(),
            .type = type,
            .a = device_a.data(),
            .lda = shape.k,
            .bias = bias.empty() ? nullptr : device_bias.data(),
            .out = out.data(),
            .ldo = shape.n,
            .sm_count = sm_count};
  }
  std::vector<float> Reference() const {
    const PackedWeight packed = Pack(weight.View(), WeightScheme::kW4A16);
    std::vector<float> expected(static_cast<size_t>(shape.m) * shape.n);
    GemmReference({.m = shape.m,
                   .a = a.data(),
                   .lda = shape.k,
                   .w = &packed,
                   .bias = bias.empty() ? nullptr : bias.data(),
                   .out = expected.data(),
                   .ldo = shape.n});
    return Rounded(type, expected);
  }
  // One rounding of each output on both sides; fp32 accumulation that adds like a random walk; and
  // in the kernel for many tokens one rounding of each weight and of its scale.
  double Bound() const {
    return 4 * UnitRoundoff(type) +
           Cancellation(shape.k) * std::sqrt(static_cast<double>(shape.k)) * 0x1p-23;
  }
  std::string Text() const {
    return Describe(weight.form) + " " + Name(type) + " " + std::to_string(shape.m) + "x" +
           std::to_string(shape.n) + "x" + std::to_string(shape.k);
  }
  void ExpectRight(const std::vector<float>& expected) const {
    EXPECT_TRUE(NormClose(FromActivations(type, out.Download()), expected, Bound())) << Text();
  }

  ActivationType type;
  Shape shape;
  TestWeight weight;
  std::vector<float> a, bias;
  int sm_count = 0;
  Int4TileLayout layout;
  DeviceArray<uint8_t> device_tiles;
  DeviceArray<uint16_t> device_a, device_bias, out;
};

using W4A16Test = GpuTest;

TEST_F(W4A16Test, EveryFormMatchesReference) {
  for (const int64_t group : Axis<int64_t>({0, 32, 64, 128, 256})) {
    for (const CodeType codes : {CodeType::kInt4, CodeType::kUint4}) {
      for (const ScalarType scale : {ScalarType::kFp16, ScalarType::kBf16}) {
        for (const bool zeros : {false, true}) {
          for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
            for (const int m : {3, 70}) {
              Case c(Form(codes, scale, group, zeros), type, {m, 128, 320}, zeros);
              ASSERT_CUDA(GemmW4A16(c.params()));
              c.ExpectRight(c.Reference());
            }
          }
        }
      }
    }
  }
}

TEST_F(W4A16Test, EveryShapeMatchesReference) {
  const Shape shapes[] = {{1, 64, 64},     {1, 4096, 256},  {2, 192, 128},   {8, 28672, 64},
                          {9, 64, 4096},   {16, 448, 1024}, {17, 320, 576},  {33, 1024, 192},
                          {64, 192, 2048}, {65, 576, 128},  {128, 256, 512}, {129, 64, 320},
                          {257, 320, 192}, {1000, 64, 128}, {2049, 128, 64}};
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const Shape& shape : shapes) {
      if (ReducedGrid() && shape.m * shape.n > 1 << 16) continue;
      Case c(kPlain, type, shape, shape.m % 2 == 1);
      ASSERT_CUDA(GemmW4A16(c.params()));
      c.ExpectRight(c.Reference());
    }
  }
}

// Every kernel in every layout that fits, also those that no table row names; twice, bit for bit.
void ExpectEveryChoiceRight(GemmKernel kernel, int variants, Shape shape, const WeightForm& form,
                            int* count) {
  Case c(form, ActivationType::kFp16, shape, true, 7);
  const std::vector<float> expected = c.Reference();
  const GemmSize size = {shape.m, shape.n, shape.k, c.layout.tile_bytes()};
  for (int variant = 0; variant < variants; ++variant) {
    for (const int split : Axis({1, 2, 3, 4, 5, 8})) {
      for (const int shared_kib : {112, 226}) {
        const GemmChoice choice = {kernel, variant, split, shared_kib};
        GemmPlan plan;
        if (PlanGemm(choice, c.sm_count, size, &plan) != nullptr) continue;
        SCOPED_TRACE(testing::Message() << "kernel " << static_cast<int>(kernel) << " variant "
                                        << variant << " split " << split << " KiB " << shared_kib);
        c.out.Poison();
        ASSERT_CUDA(GemmW4A16With(c.params(), choice));
        c.ExpectRight(expected);
        const std::vector<uint16_t> first = c.out.Download();
        c.out.Poison();
        ASSERT_CUDA(GemmW4A16With(c.params(), choice));
        ASSERT_EQ(c.out.Download(), first);
        ++*count;
      }
    }
  }
}

TEST_F(W4A16Test, EveryChoiceIsRightAndRepeats) {
  const WeightForm zeros64 = Form(CodeType::kUint4, ScalarType::kFp16, 64, true);
  int small = 0, large = 0;
  for (const WeightForm& form : {kPlain, zeros64}) {
    for (const Shape& shape : {Shape{5, 320, 1216}, Shape{16, 192, 1024}}) {
      ExpectEveryChoiceRight(GemmKernel::kW4A16Small, std::size(kSmallVariants), shape, form,
                             &small);
    }
    for (const Shape& shape : {Shape{5, 320, 1216}, Shape{77, 576, 1024}, Shape{300, 192, 640}}) {
      if (ReducedGrid() && shape.m > 100) continue;
      ExpectEveryChoiceRight(GemmKernel::kW4A16Large, std::size(kLargeVariants), shape, form,
                             &large);
    }
  }
  EXPECT_GT(small, ReducedGrid() ? 20 : 100);
  EXPECT_GT(large, ReducedGrid() ? 30 : 150);
}

TEST_F(W4A16Test, ZeroPointsAtBothEnds) {
  for (const int32_t zero : {0, 15, 63}) {
    for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
      for (const int m : {2, 40}) {
        Case c(Form(CodeType::kUint4, ScalarType::kFp16, 128, true), type, {m, 64, 256}, false);
        c.weight.zeros.assign(c.weight.zeros.size(), zero);
        const WeightView view = c.weight.View();
        c.layout = LayoutInt4Tiles({&view, 1});
        std::vector<uint8_t> tiles(c.layout.bytes());
        PackInt4Tiles({&view, 1}, c.layout, tiles);
        c.device_tiles = DeviceArray<uint8_t>(tiles);
        ASSERT_CUDA(GemmW4A16(c.params()));
        c.ExpectRight(c.Reference());
      }
    }
  }
}

TEST_F(W4A16Test, NonFiniteStaysInItsRow) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int m : {5, 16, 40, 150}) {
      Case c(kPlain, type, {m, 192, 320}, false);
      c.a[320 + 9] = kNan;
      c.a[3 * 320 + 319] = kInfinity;
      c.a[static_cast<size_t>(m - 1) * 320] = -kInfinity;
      c.Upload();
      ASSERT_CUDA(GemmW4A16(c.params()));
      c.ExpectRight(c.Reference());
    }
  }
}

TEST_F(W4A16Test, PermutedColumns) {
  for (const int m : {1, 16, 100}) {
    Case c(kPlain, ActivationType::kFp16, {m, 128, 448}, false);
    const std::vector<float> expected = c.Reference();
    // The device gets the activations in an order that the permutation undoes.
    std::vector<int32_t> permutation(448);
    std::vector<float> shuffled(c.a.size());
    for (int j = 0; j < 448; ++j) {
      permutation[j] = j * 89 % 448;
      for (int r = 0; r < m; ++r) shuffled[r * 448 + permutation[j]] = c.a[r * 448 + j];
    }
    c.a = shuffled;
    c.Upload();
    const DeviceArray<int32_t> device_permutation(permutation);
    GemmW4A16Params params = c.params();
    params.permutation = device_permutation.data();
    EXPECT_EQ(GemmW4A16(params), cudaErrorInvalidValue);  // no workspace
    const DeviceBytes workspace(GemmW4A16Workspace(params));
    params.workspace = workspace.data();
    params.workspace_bytes = workspace.bytes();
    ASSERT_CUDA(GemmW4A16(params));
    c.ExpectRight(expected);
  }
}

// A chain in a graph: each product reads what the one before wrote, while its weights are fetched
// ahead. 64 times over, so that a missing wait would show.
TEST_F(W4A16Test, ChainsInAGraphWaitForTheirInput) {
  for (const int m : {1, 16, 64, 130}) {
    Case c(kPlain, ActivationType::kFp16, {m, 512, 512}, false);
    cudaStream_t stream;
    ASSERT_CUDA(cudaStreamCreate(&stream));
    DeviceArray<uint16_t> middle(static_cast<size_t>(m) * 512);
    const auto run = [&](bool first) {
      GemmW4A16Params params = c.params();
      params.stream = stream;
      if (first) {
        params.out = middle.data();
      } else {
        params.a = middle.data();
      }
      return GemmW4A16(params);
    };
    ASSERT_CUDA(run(true));
    ASSERT_CUDA(run(false));
    ASSERT_CUDA(cudaStreamSynchronize(stream));
    const std::vector<uint16_t> expected = c.out.Download();
    ASSERT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < 64; ++i) {
      ASSERT_CUDA(cudaMemsetAsync(middle.data(), 0xFF, middle.size() * 2, stream));
      ASSERT_CUDA(run(true));
      ASSERT_CUDA(run(false));
    }
    cudaGraph_t graph;
    ASSERT_CUDA(cudaStreamEndCapture(stream, &graph));
    cudaGraphExec_t executable;
    ASSERT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    c.out.Poison();
    ASSERT_CUDA(cudaGraphLaunch(executable, stream));
    ASSERT_CUDA(cudaStreamSynchronize(stream));
    EXPECT_EQ(c.out.Download(), expected) << m;
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
