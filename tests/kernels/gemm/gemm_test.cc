#include "kernels/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "hwy/highway.h"
#include "tests/kernels/gemm/test_matrices.h"

namespace baton::kernels {
namespace {

constexpr float kUntouched = 12345.0f;

struct Shape {
  int64_t m;
  int64_t n;
  int64_t k;
};

std::vector<float> Cpu(GemmParams p, int parts) {
  std::vector<float> out(static_cast<size_t>(p.m * p.w->n()), kUntouched);
  p.out = out.data();
  for (int part = parts - 1; part >= 0; --part) GemmCpu(p, part, parts);
  return out;
}

std::vector<float> Reference(GemmParams p) {
  std::vector<float> out(static_cast<size_t>(p.m * p.w->n()), kUntouched);
  p.out = out.data();
  GemmReference(p);
  return out;
}

// How far rounding may take an output of K terms from the exact value. Any order of K additions
// with a rounding after each product and each sum stays within γ(2K) of Σ|a·w|, where γ(n) is
// n·u / (1 - n·u) and u = 2^-24 (Higham, "Accuracy and Stability", 3.1). Scales and the bias add
// four roundings. Integer sums are exact, so their schemes lie far inside.
double Bound(int64_t k, double sum_of_magnitudes) {
  const double n = (2.0 * static_cast<double>(k) + 4.0) * std::ldexp(1.0, -24);
  return n / (1.0 - n) * sum_of_magnitudes;
}

class Gemm : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
  bool HasFma() const { return GetParam() != HWY_EMU128 && GetParam() != HWY_SCALAR; }
};

TEST_P(Gemm, RunsTheTargetUnderTest) {
  EXPECT_STREQ(DispatchTarget(), hwy::TargetName(GetParam()));
}

TEST_P(Gemm, IsWithinTheRoundingBoundOfTheExactProduct) {
  const Shape shapes[] = {{1, 1, 32},   {1, 16, 128},  {3, 17, 96},  {17, 33, 112},
                          {33, 40, 80}, {8, 100, 256}, {5, 130, 48}, {2, 300, 640}};
  for (const WeightForm& form : AllForms()) {
    for (const Shape& s : shapes) {
      const TestWeight w(form, s.n, s.k, 11);
      const TestActivations a(s.m, s.k, 12);
      const PackedWeight packed = Pack(w.View(), form.scheme);
      std::vector<float> bias(s.n);
      for (int64_t n = 0; n < s.n; ++n) bias[n] = 0.25f * static_cast<float>(n % 7) - 0.5f;
      GemmParams p = a.Rows(packed, 0, s.m, nullptr);
      p.bias = bias.data();
      const std::vector<float> out = Cpu(p, 1);
      const std::vector<float> reference = Reference(p);
      for (int64_t m = 0; m < s.m; ++m) {
        for (int64_t n = 0; n < s.n; ++n) {
          double exact = bias[n];
          double magnitudes = std::fabs(bias[n]);
          for (int64_t k = 0; k < s.k; ++k) {
            const double term = a.Value(form.scheme, m, k) * w.Value(n, k);
            exact += term;
            magnitudes += std::fabs(term);
          }
          const float got = out[m * s.n + n];
          ASSERT_NEAR(got, exact, Bound(s.k, magnitudes))
              << Describe(form) << " m " << m << " n " << n << " k " << s.k;
          // With fused multiply-add the vector code does the reference's operations in its order.
          if (HasFma()) {
            ASSERT_EQ(got, reference[m * s.n + n]) << Describe(form) << " m " << m << " n " << n;
          }
        }
      }
    }
  }
}

TEST_P(Gemm, RowsDoNotDependOnBatchPositionOrParts) {
  constexpr int64_t kRows = 37;
  constexpr int64_t kN = 147;
  constexpr int64_t kK = 272;  // a short last group for groups of 32, 64 and 128
  for (const WeightForm& form : AllForms()) {
    const TestWeight w(form, kN, kK, 21);
    const TestActivations a(kRows, kK, 22);
    const PackedWeight packed = Pack(w.View(), form.scheme);
    const std::vector<float> whole = Cpu(a.Rows(packed, 0, kRows, nullptr), 1);
    for (int parts : {2, 3, 4, 5, 16}) {
      ASSERT_EQ(Cpu(a.Rows(packed, 0, kRows, nullptr), parts), whole)
          << Describe(form) << " parts " << parts;
    }
    for (int64_t count : {1, 2, 3, 4, 5, 7, 8, 17}) {
      for (int64_t first = 0; first + count <= kRows; first += count) {
        const std::vector<float> some = Cpu(a.Rows(packed, first, count, nullptr), 2);
        ASSERT_EQ(some, std::vector<float>(whole.begin() + first * kN,
                                           whole.begin() + (first + count) * kN))
            << Describe(form) << " rows " << first << " + " << count;
      }
    }
  }
}

TEST_P(Gemm, OutputBeyondNStaysUntouched) {
  for (const WeightForm& form : AllForms()) {
    const TestWeight w(form, 21, 64, 1);
    const TestActivations a(7, 64, 2);
    const PackedWeight packed = Pack(w.View(), form.scheme);
    std::vector<float> out(7 * 40, kUntouched);
    GemmParams p = a.Rows(packed, 0, 7, out.data());
    p.ldo = 40;
    GemmCpu(p, 0, 1);
    for (int64_t m = 0; m < 7; ++m) {
      for (int64_t n = 0; n < 40; ++n) {
        EXPECT_EQ(out[m * 40 + n] == kUntouched, n >= 21) << Describe(form) << m << "," << n;
      }
    }
  }
}

TEST_P(Gemm, NonFiniteActivationsStayInTheirRow) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const WeightForm& form : AllForms()) {
    const TestWeight w(form, 35, 96, 31);
    const PackedWeight packed = Pack(w.View(), form.scheme);
    TestActivations a(9, 96, 32);
    const std::vector<float> before = Cpu(a.Rows(packed, 0, 9, nullptr), 1);
    a.x[3 * 96 + 50] = std::nanf("");
    a.x[5 * 96 + 95] = kInf;
    a.Quantize();
    const GemmParams p = a.Rows(packed, 0, 9, nullptr);
    const std::vector<float> out = Cpu(p, 2);
    const std::vector<float> reference = Reference(p);
    for (int64_t i = 0; i < 9 * 35; ++i) {
      const int64_t row = i / 35;
      if (row == 3) {
        EXPECT_TRUE(std::isnan(out[i])) << Describe(form);
      } else if (row == 5) {
        EXPECT_FALSE(std::isfinite(out[i])) << Describe(form);
        EXPECT_EQ(std::isnan(out[i]), std::isnan(reference[i])) << Describe(form);
        EXPECT_TRUE(!TakesQuantizedActivations(form.scheme) || std::isnan(out[i]));
      } else {
        EXPECT_EQ(out[i], before[i]) << Describe(form);
      }
    }
  }
}

TEST_P(Gemm, IntegerSumsDoNotSaturate) {
  // All codes at their extremes: byte products of 255 · 127 overflow 16 bits in pairs, and K =
  // 65536 takes the 32-bit sum to its limit.
  for (int64_t k : {64, 4096, 65536}) {
    TestWeight w({WeightScheme::kW8A8, CodeType::kInt8, ScalarType::kFp32}, 2, k, 1);
    for (int64_t i = 0; i < k; ++i) w.codes[i] = 127, w.codes[k + i] = -128;
    w.scales32.assign(2, 1.0f);
    const PackedWeight packed = Pack(w.View(), WeightScheme::kW8A8);
    TestActivations a(2, k, 1);
    for (int64_t i = 0; i < k; ++i) a.x[i] = 1.0f, a.x[k + i] = -1.0f;
    a.Quantize();
    a.scale = {1.0f, 1.0f};
    const float terms = static_cast<float>(k);
    EXPECT_EQ(Cpu(a.Rows(packed, 0, 2, nullptr), 1),
              (std::vector<float>{127.0f * 127.0f * terms, -128.0f * 127.0f * terms,
                                  -127.0f * 127.0f * terms, 128.0f * 127.0f * terms}));
  }
}

TEST_P(Gemm, Int4SumsDoNotSaturateWithExtremeZeroPoints) {
  constexpr int64_t kK = 4096;
  for (int32_t zero : {0, 255}) {
    TestWeight w({WeightScheme::kW4A8, CodeType::kUint4, ScalarType::kFp32, 0, true}, 2, kK, 1);
    for (int64_t i = 0; i < kK; ++i) w.codes[i] = 15, w.codes[kK + i] = 0;
    w.scales32.assign(2, 1.0f);
    w.zeros.assign(2, zero);
    const PackedWeight packed = Pack(w.View(), WeightScheme::kW4A8);
    TestActivations a(1, kK, 1);
    a.x.assign(kK, 1.0f);
    a.Quantize();
    a.scale = {1.0f};
    const float each = 127.0f * static_cast<float>(kK);
    EXPECT_EQ(Cpu(a.Rows(packed, 0, 1, nullptr), 1),
              (std::vector<float>{each * static_cast<float>(15 - zero),
                                  each * static_cast<float>(-zero)}));
  }
}

TEST_P(Gemm, LargeOutputs) {
  const WeightForm form{WeightScheme::kW4A8, CodeType::kInt4, ScalarType::kFp16, 64, false};
  const TestWeight w(form, 5000, 128, 3);
  const TestActivations a(2, 128, 4);
  const PackedWeight packed = Pack(w.View(), form.scheme);
  const GemmParams p = a.Rows(packed, 0, 2, nullptr);
  const std::vector<float> reference = Reference(p);
  const std::vector<float> out = Cpu(p, 3);
  for (size_t i = 0; i < out.size(); ++i) {
    ASSERT_NEAR(out[i], reference[i], 1e-5 * std::fabs(reference[i]) + 1e-4) << i;
  }
}

TEST_P(Gemm, NothingToDo) {
  const TestWeight w({}, 5, 32, 1);
  const PackedWeight packed = Pack(w.View(), WeightScheme::kFp32);
  GemmParams p;
  p.w = &packed;
  for (int part = 0; part < 3; ++part) GemmCpu(p, part, 3);
}

INSTANTIATE_TEST_SUITE_P(Targets, Gemm, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return hwy::TargetName(info.param); });

}  // namespace
}  // namespace baton::kernels
