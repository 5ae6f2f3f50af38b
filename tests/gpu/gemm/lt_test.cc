// Products by cuBLASLt: fp16 and bf16, and FP8 with a scale per token and per output feature.
#include <cmath>
#include <limits>

#include "kernels/gemm/cublaslt.h"
#include "kernels/numeric/formats.h"
#include "tests/gpu/gemm/product.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  int m, n, k;
};
std::vector<Shape> Shapes() {
  return Axis<Shape>({{1, 64, 64},
                      {1, 1024, 4096},
                      {3, 192, 128},
                      {17, 320, 1024},
                      {64, 1024, 64},
                      {65, 64, 4096},
                      {129, 512, 512},
                      {257, 128, 192},
                      {1000, 192, 320},
                      {2049, 64, 128}});
}
constexpr int kCheckedRows = 9;

class LtTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    workspace_ = DeviceBytes(CublasLt::kWorkspaceBytes);
    ASSERT_CUDA(CublasLt::Create(workspace_.data(), workspace_.bytes(), &lt_));
  }

  DeviceBytes workspace_;
  std::unique_ptr<CublasLt> lt_;
};

std::vector<float> Gather(const std::vector<float>& all, const std::vector<int>& rows, int n) {
  std::vector<float> picked;
  for (const int row : rows) {
    picked.insert(picked.end(), all.begin() + static_cast<size_t>(row) * n,
                  all.begin() + static_cast<size_t>(row + 1) * n);
  }
  return picked;
}

// Rounding of the output, and fp32 accumulation whose errors of 2^-23 add like a random walk.
double F16Bound(ActivationType type, int k) {
  return UnitRoundoff(type) + Cancellation(k) * std::sqrt(static_cast<double>(k)) * 0x1p-23;
}

struct F16Case {
  F16Case(ActivationType t, Shape s, bool with_bias)
      : type(t),
        shape(s),
        a(Rounded(t, RandomNormal(static_cast<size_t>(s.m) * s.k, 1))),
        w(Rounded(t, RandomNormal(static_cast<size_t>(s.n) * s.k, 2, 0.05f))),
        bias(with_bias ? Rounded(t, RandomNormal(s.n, 3)) : std::vector<float>()) {}

  void Upload() {
    device_a = DeviceArray<uint16_t>(ToActivations(type, a));
    device_w = DeviceArray<uint16_t>(ToActivations(type, w));
    device_bias = DeviceArray<uint16_t>(ToActivations(type, bias));
    out = DeviceArray<uint16_t>(static_cast<size_t>(shape.m) * shape.n);
  }
  GemmF16Params params() const {
    return {.m = shape.m,
            .n = shape.n,
            .k = shape.k,
            .type = type,
            .a = device_a.data(),
            .lda = shape.k,
            .w = device_w.data(),
            .bias = bias.empty() ? nullptr : device_bias.data(),
            .out = out.data(),
            .ldo = shape.n};
  }
  void ExpectRight() const {
    const std::vector<int> rows = SampleRows(shape.m, kCheckedRows);
    EXPECT_TRUE(NormClose(Gather(FromActivations(type, out.Download()), rows, shape.n),
                          Rounded(type, ProductRows(a, w, bias, rows, shape.n, shape.k)),
                          2 * F16Bound(type, shape.k)))
        << Name(type) << " " << shape.m << "x" << shape.n << "x" << shape.k;
  }

  ActivationType type;
  Shape shape;
  std::vector<float> a, w, bias;
  DeviceArray<uint16_t> device_a, device_w, device_bias, out;
};

TEST_F(LtTest, F16MatchesReference) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const Shape& shape : Shapes()) {
      for (const bool bias : {false, true}) {
        F16Case c(type, shape, bias);
        c.Upload();
        ASSERT_CUDA(GemmF16(*lt_, c.params()));
        c.ExpectRight();
      }
    }
  }
}

TEST_F(LtTest, F16TunedStaysRightAndRepeats) {
  F16Case c(ActivationType::kFp16, {48, 512, 1024}, true);
  c.Upload();
  ASSERT_CUDA(lt_->Tune(c.params(), {.repeats = 1, .widen = true}));
  c.out.Poison();
  ASSERT_CUDA(GemmF16(*lt_, c.params()));
  c.ExpectRight();
  const std::vector<uint16_t> first = c.out.Download();
  for (int i = 0; i < 5; ++i) {
    c.out.Poison();
    ASSERT_CUDA(GemmF16(*lt_, c.params()));
    ASSERT_EQ(c.out.Download(), first);
  }
}

TEST_F(LtTest, F16NonFiniteStaysInItsRow) {
  F16Case c(ActivationType::kBf16, {5, 128, 256}, false);
  c.a[256 + 9] = kNan;
  c.a[3 * 256] = kInfinity;
  c.Upload();
  ASSERT_CUDA(GemmF16(*lt_, c.params()));
  c.ExpectRight();
}

// A row of the algorithm's bucket serves every number of rows in it.
TEST_F(LtTest, F16SharesAlgorithmsWithinABucket) {
  for (const int m : {144, 137, 130, 129}) {
    F16Case c(ActivationType::kFp16, {m, 256, 512}, false);
    c.Upload();
    ASSERT_EQ(KeyOf(c.params()).m, 144);
    ASSERT_CUDA(GemmF16(*lt_, c.params()));
    c.ExpectRight();
  }
}

TEST_F(LtTest, F16RunsInAGraph) {
  F16Case c(ActivationType::kFp16, {7, 256, 256}, true);
  c.Upload();
  GemmF16Params params = c.params();
  cudaStream_t stream;
  ASSERT_CUDA(cudaStreamCreate(&stream));
  params.stream = stream;
  ASSERT_CUDA(GemmF16(*lt_, params));
  ASSERT_CUDA(cudaStreamSynchronize(stream));
  c.out.Poison();
  ASSERT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  ASSERT_CUDA(GemmF16(*lt_, params));
  cudaGraph_t graph;
  ASSERT_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t executable;
  ASSERT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  ASSERT_CUDA(cudaGraphLaunch(executable, stream));
  ASSERT_CUDA(cudaStreamSynchronize(stream));
  c.ExpectRight();
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

// --- FP8 ---------------------------------------------------------------------------------------

struct Fp8Case {
  Fp8Case(ActivationType t, Shape s, bool with_bias)
      : type(t),
        shape(s),
        a(Codes(static_cast<size_t>(s.m) * s.k, 1)),
        w(Codes(static_cast<size_t>(s.n) * s.k, 2)),
        bias(with_bias ? Rounded(t, RandomNormal(s.n, 3)) : std::vector<float>()) {
    // Powers of two and others; the products come out near 1.
    for (int i = 0; i < s.m; ++i) a_scale.push_back(0.01f * static_cast<float>(1 + i % 7));
    for (int i = 0; i < s.n; ++i) w_scale.push_back(0.002f * static_cast<float>(1 + i % 5));
  }
  // Normal values of deviation 32, a few at the largest magnitude.
  static std::vector<uint8_t> Codes(size_t count, uint32_t seed) {
    const std::vector<float> x = RandomNormal(count, seed, 32.0f);
    std::vector<uint8_t> codes(count);
    for (size_t i = 0; i < count; ++i) codes[i] = E4m3FromFloat(i % 1009 == 7 ? 448.0f : x[i]);
    return codes;
  }
  static std::vector<float> Decode(const std::vector<uint8_t>& codes,
                                   const std::vector<float>& scale, int k) {
    std::vector<float> x(codes.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = FloatFromE4m3(codes[i]) * scale[i / k];
    return x;
  }
  void Upload() {
    device_a = DeviceArray<uint8_t>(a);
    device_w = DeviceArray<uint8_t>(w);
    device_a_scale = DeviceArray<float>(a_scale);
    device_w_scale = DeviceArray<float>(w_scale);
    device_bias = DeviceArray<uint16_t>(ToActivations(type, bias));
    out = DeviceArray<uint16_t>(static_cast<size_t>(shape.m) * shape.n);
  }
  GemmFp8Params params(Fp8Mode mode) const {
    return {.m = shape.m,
            .n = shape.n,
            .k = shape.k,
            .mode = mode,
            .a = device_a.data(),
            .a_scale = device_a_scale.data(),
            .w = device_w.data(),
            .w_scale = device_w_scale.data(),
            .bias = bias.empty() ? nullptr : device_bias.data(),
            .type = type,
            .out = out.data(),
            .ldo = shape.n};
  }
  // The tensor core keeps about 14 bits of the running sum and adds 32 terms at a time: k / 32
  // truncations of 2^-14 in fast accumulation, four of them between promotions in exact mode.
  double Bound(Fp8Mode mode) const {
    const double adds = mode == Fp8Mode::kExact ? 4.0 : std::max(4.0, shape.k / 32.0);
    return 2 * UnitRoundoff(type) + adds * 0x1p-14 +
           Cancellation(shape.k) * std::sqrt(static_cast<double>(shape.k)) * 0x1p-23;
  }
  void ExpectRight(Fp8Mode mode) const {
    const std::vector<int> rows = SampleRows(shape.m, kCheckedRows);
    const std::vector<float> expected = ProductRows(
        Decode(a, a_scale, shape.k), Decode(w, w_scale, shape.k), bias, rows, shape.n, shape.k);
    EXPECT_TRUE(NormClose(Gather(FromActivations(type, out.Download()), rows, shape.n),
                          Rounded(type, expected), Bound(mode)))
        << Name(type) << " " << shape.m << "x" << shape.n << "x" << shape.k
        << (mode == Fp8Mode::kExact ? " exact" : " fast");
  }

  ActivationType type;
  Shape shape;
  std::vector<uint8_t> a, w;
  std::vector<float> a_scale, w_scale, bias;
  DeviceArray<uint8_t> device_a, device_w;
  DeviceArray<float> device_a_scale, device_w_scale;
  DeviceArray<uint16_t> device_bias, out;
};

TEST_F(LtTest, Fp8MatchesReference) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const Shape& shape : Shapes()) {
      for (const bool bias : {false, true}) {
        Fp8Case c(type, shape, bias);
        c.Upload();
        for (const Fp8Mode mode : {Fp8Mode::kFastAccum, Fp8Mode::kExact}) {
          c.out.Poison();
          ASSERT_EQ(GemmFp8Large(*lt_, c.params(mode)), cudaSuccess)
              << Name(type) << (bias ? " bias " : " ") << shape.m << "x" << shape.n << "x"
              << shape.k;
          c.ExpectRight(mode);
        }
      }
    }
  }
}

TEST_F(LtTest, Fp8RowOfNanScaleIsNan) {
  Fp8Case c(ActivationType::kFp16, {5, 128, 256}, false);
  c.a_scale[2] = kNan;
  c.Upload();
  ASSERT_CUDA(GemmFp8Large(*lt_, c.params(Fp8Mode::kFastAccum)));
  c.ExpectRight(Fp8Mode::kFastAccum);
}

TEST_F(LtTest, Fp8TunedStaysRightAndRepeats) {
  Fp8Case c(ActivationType::kFp16, {300, 512, 1024}, false);
  c.Upload();
  for (const Fp8Mode mode : {Fp8Mode::kFastAccum, Fp8Mode::kExact}) {
    ASSERT_CUDA(lt_->Tune(c.params(mode), {.repeats = 1, .widen = true}));
    c.out.Poison();
    ASSERT_CUDA(GemmFp8Large(*lt_, c.params(mode)));
    c.ExpectRight(mode);
    const std::vector<uint16_t> first = c.out.Download();
    c.out.Poison();
    ASSERT_CUDA(GemmFp8Large(*lt_, c.params(mode)));
    ASSERT_EQ(c.out.Download(), first);
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
