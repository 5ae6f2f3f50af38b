#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/gemm/packed_weight.h"
#include "kernels/numeric/formats.h"
#include "tests/kernels/gemm/test_matrices.h"

namespace baton::kernels {
namespace {

TEST(Pack, EveryRowComesBack) {
  for (const WeightForm& form : AllForms()) {
    for (int64_t n : {1, 15, 16, 17, 50}) {
      for (int64_t k : {32, 96, 112, 272}) {
        const TestWeight w(form, n, k, 5);
        ASSERT_EQ(PackProblem(w.View(), form.scheme), "") << Describe(form);
        const PackedWeight packed = Pack(w.View(), form.scheme);
        std::vector<float> row(k);
        for (int64_t i = 0; i < n; ++i) {
          DequantizeRow(packed, i, row.data());
          for (int64_t j = 0; j < k; ++j) {
            ASSERT_EQ(row[j], static_cast<float>(w.Value(i, j)))
                << Describe(form) << " n " << n << " k " << k << " at " << i << "," << j;
          }
        }
      }
    }
  }
}

TEST(Pack, DenseKeepsInfinityAndNanOfItsOwnType) {
  const uint16_t values[] = {0x7C00, 0xFC00, 0x7E01, 0x0001};
  WeightView v{.n = 1, .k = 4, .dense = values, .dense_type = ScalarType::kFp16};
  const PackedWeight w = Pack(v, WeightScheme::kFp16);
  float row[4];
  DequantizeRow(w, 0, row);
  EXPECT_EQ(row[0], std::numeric_limits<float>::infinity());
  EXPECT_EQ(row[1], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(row[2]));
  EXPECT_EQ(row[3], std::ldexp(1.0f, -24));
}

TEST(Pack, CodesBecomeDenseByDequantizing) {
  const TestWeight w({WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 32, true}, 20, 96,
                     9);
  std::vector<float> row(96);
  for (WeightScheme scheme : {WeightScheme::kFp32, WeightScheme::kFp16}) {
    const PackedWeight packed = Pack(w.View(), scheme);
    for (int64_t i = 0; i < 20; ++i) {
      DequantizeRow(packed, i, row.data());
      for (int64_t j = 0; j < 96; ++j) {
        const float exact = static_cast<float>(w.Value(i, j));
        EXPECT_EQ(row[j],
                  scheme == WeightScheme::kFp32 ? exact : FloatFromFp16(Fp16FromFloat(exact)));
      }
    }
  }
}

TEST(Pack, StacksMatricesAlongN) {
  const WeightForm form{WeightScheme::kW4A8, CodeType::kInt4, ScalarType::kFp16, 32, false};
  const TestWeight a(form, 20, 64, 1);
  const TestWeight b(form, 9, 64, 2);
  const WeightView views[] = {a.View(), b.View()};
  const PackedWeight packed = Pack(views, form.scheme);
  ASSERT_EQ(packed.n(), 29);
  std::vector<float> row(64);
  for (int64_t i = 0; i < 29; ++i) {
    DequantizeRow(packed, i, row.data());
    for (int64_t j = 0; j < 64; ++j) {
      EXPECT_EQ(row[j], static_cast<float>(i < 20 ? a.Value(i, j) : b.Value(i - 20, j)));
    }
  }
}

TEST(Pack, HoldsFourBitsPerInt4CodeAndSixteenPerFp16) {
  const TestWeight w4({WeightScheme::kW4A16, CodeType::kInt4, ScalarType::kFp16, 32, false}, 64,
                      128, 1);
  EXPECT_EQ(Pack(w4.View(), WeightScheme::kW4A16).bytes(), 64u * 128 / 2 + 64u * 4 * 2);
  const TestWeight fp16({WeightScheme::kFp16, CodeType::kDense, ScalarType::kFp16}, 64, 128, 1);
  EXPECT_EQ(Pack(fp16.View(), WeightScheme::kFp16).bytes(), 64u * 128 * 2);
}

TEST(Pack, ZeroPointsOfEightAreSymmetric) {
  TestWeight w({WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 32, true}, 16, 64, 1);
  EXPECT_TRUE(Pack(w.View(), WeightScheme::kW4A16).has_zeros());
  w.zeros.assign(w.zeros.size(), 8);
  EXPECT_FALSE(Pack(w.View(), WeightScheme::kW4A16).has_zeros());
}

TEST(PackProblem, NamesWhatIsWrong) {
  const WeightForm int4{WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 32, true};
  TestWeight w(int4, 4, 64, 1);
  EXPECT_NE(PackProblem(w.View(), WeightScheme::kW8A8), "");
  EXPECT_NE(PackProblem(WeightView{}, WeightScheme::kFp32), "");
  EXPECT_NE(PackProblem(std::span<const WeightView>(), WeightScheme::kFp32), "");

  WeightView grouped = w.View();
  grouped.group = 16;
  EXPECT_NE(PackProblem(grouped, int4.scheme).find("16"), std::string::npos);
  grouped.group = 0;
  EXPECT_NE(PackProblem(grouped, int4.scheme), "");

  w.codes[70] = 16;
  EXPECT_NE(PackProblem(w.View(), int4.scheme).find("code 16"), std::string::npos);
  w.codes[70] = 15;
  w.zeros[1] = 256;
  EXPECT_NE(PackProblem(w.View(), int4.scheme).find("256"), std::string::npos);
  w.zeros[1] = 16;
  EXPECT_EQ(PackProblem(w.View(), int4.scheme), "");

  const TestWeight other({WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 64, true}, 4,
                         64, 1);
  const WeightView views[] = {w.View(), other.View()};
  EXPECT_NE(PackProblem(views, int4.scheme), "");

  TestWeight fp8({WeightScheme::kW8A8Fp8, CodeType::kE4m3, ScalarType::kFp32}, 4, 64, 1);
  EXPECT_EQ(PackProblem(fp8.View(), WeightScheme::kW8A8Fp8), "");
  EXPECT_NE(PackProblem(fp8.View(), WeightScheme::kW8A8), "");
  fp8.codes[17] = static_cast<int8_t>(0xFF);
  EXPECT_NE(PackProblem(fp8.View(), WeightScheme::kW8A8Fp8).find("NaN"), std::string::npos);

  const TestWeight int8({WeightScheme::kW8A8, CodeType::kInt8, ScalarType::kFp32, 32}, 4, 64, 1);
  EXPECT_NE(PackProblem(int8.View(), WeightScheme::kW8A8).find("32"), std::string::npos);
}

}  // namespace
}  // namespace baton::kernels
