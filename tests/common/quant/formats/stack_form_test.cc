#include "common/quant/formats/stack_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "kernels/numeric/formats.h"
#include "tests/common/quant/formats/fixture_cases.h"

namespace baton {
namespace {

using kernels::WeightScheme;
using ::testing::HasSubstr;

constexpr uint32_t kSeed = 5;

LoadedWeight Load(const test::FixtureCase& c) {
  const test::FixtureTensors tensors(c.format);
  return {nullptr, *test::ReadCase(c, tensors.map, c.config)};
}

// Random codes, fp16 scales and, where wanted, zero points.
LoadedWeight Random(int64_t n, int64_t k, int64_t group, int bits, TensorCode code, bool zeros,
                    uint32_t seed) {
  std::mt19937 random(seed);
  QuantizedTensor t{.n = n, .k = k, .code = code, .bits = bits};
  t.block_columns = group;
  const int half = code == TensorCode::kSigned ? 1 << (bits - 1) : 0;
  std::uniform_int_distribution<int> codes(-half, (1 << bits) - 1 - half);
  for (int64_t i = 0; i < n * k; ++i) t.codes.push_back(static_cast<uint8_t>(codes(random)));
  std::uniform_real_distribution<float> scales(0.01f, 0.02f);
  for (int64_t i = 0; i < n * t.groups(); ++i) {
    const uint16_t scale = kernels::Fp16FromFloat(scales(random));
    const auto bytes = std::as_bytes(std::span(&scale, 1));
    t.scales.insert(t.scales.end(), bytes.begin(), bytes.end());
    if (zeros) t.zeros.push_back(codes(random));
  }
  return {nullptr, QuantizedWeight{std::move(t), {}}};
}

LoadedWeight Copy(const LoadedWeight& weight) { return weight; }

// Packs the form and compares every value: exactly where codes are served, rounded to fp16 else.
void ExpectValues(const StackForm& form, const std::vector<std::vector<float>>& expected) {
  ASSERT_EQ(kernels::PackProblem(form.views, form.scheme), "");
  const kernels::PackedWeight packed = kernels::Pack(form.views, form.scheme);
  std::vector<float> row(static_cast<size_t>(packed.k()));
  int64_t first = 0;
  for (const std::vector<float>& part : expected) {
    const auto rows = static_cast<int64_t>(part.size()) / packed.k();
    for (int64_t n = 0; n < rows; ++n) {
      kernels::DequantizeRow(packed, first + n, row.data());
      for (int64_t i = 0; i < packed.k(); ++i) {
        const int64_t column = form.gather.empty() ? i : form.gather[static_cast<size_t>(i)];
        float wanted = part[static_cast<size_t>(n * packed.k() + column)];
        if (form.scheme == WeightScheme::kFp16) {
          wanted = kernels::FloatFromFp16(kernels::Fp16FromFloat(wanted));
        }
        ASSERT_EQ(row[static_cast<size_t>(i)], wanted) << "row " << first + n << ", column " << i;
      }
    }
    first += rows;
  }
}

class ServedFixture : public ::testing::TestWithParam<test::FixtureCase> {};

TEST_P(ServedFixture, PacksToTheSameValues) {
  LoadedWeight weight = Load(GetParam());
  const std::vector<float> expected = Dequantize(weight.quantized->tensor, RunSerially);
  for (const bool gather_allowed : {true, false}) {
    const StackForm form = NativeForm({weight}, gather_allowed, RunSerially);
    EXPECT_TRUE(gather_allowed || form.gather.empty());
    ExpectValues(form, {expected});
  }
}

INSTANTIATE_TEST_SUITE_P(All, ServedFixture, ::testing::ValuesIn(test::FixtureCases()),
                         [](const auto& info) {
                           return info.param.format + "_" + info.param.name;
                         });

std::pair<WeightScheme, std::string> ServedAs(LoadedWeight weight) {
  const StackForm form = NativeForm({std::move(weight)}, true, RunSerially);
  return {form.scheme, form.note};
}

TEST(NativeForm, ChoosesTheKernelOfTheFormat) {
  const auto with_inputs = [](LoadedWeight weight, ActivationScheme inputs) {
    weight.quantized->activations = inputs;
    return ServedAs(std::move(weight));
  };
  const LoadedWeight int4 = Random(8, 64, 32, 4, TensorCode::kUnsigned, true, kSeed);
  const LoadedWeight int8 = Random(8, 64, 64, 8, TensorCode::kSigned, false, kSeed);
  EXPECT_EQ(with_inputs(int4, {}).first, WeightScheme::kW4A16);
  EXPECT_EQ(with_inputs(int4, {}).second, "");
  EXPECT_EQ(with_inputs(int4, {.type = ActivationType::kInt8}).first, WeightScheme::kW4A8);
  EXPECT_EQ(with_inputs(int8, {.type = ActivationType::kInt8}).first, WeightScheme::kW8A8);
  const auto still = with_inputs(int8, {.type = ActivationType::kInt8, .static_scale = 0.5f});
  EXPECT_EQ(still.first, WeightScheme::kW8A8);
  EXPECT_EQ(still.second, "static scales of int8 inputs are not used: each token has its own");
  LoadedWeight fp8 = Random(8, 64, 64, 8, TensorCode::kUnsigned, false, kSeed);
  fp8.quantized->tensor.code = TensorCode::kE4m3;
  for (uint8_t& code : fp8.quantized->tensor.codes) code &= 0xBF;  // no NaN
  EXPECT_EQ(with_inputs(fp8, {.type = ActivationType::kFp8}).first, WeightScheme::kW8A8Fp8);
  EXPECT_EQ(with_inputs(fp8, {.type = ActivationType::kFp8, .static_scale = 0.5f}).second,
            "static scales of fp8 inputs are not used: each token has its own");
  EXPECT_EQ(with_inputs(fp8, {.type = ActivationType::kFp8, .magnitude_limit = 9}).first,
            WeightScheme::kFp16);
  EXPECT_EQ(with_inputs(fp8, {}).first, WeightScheme::kFp16);
  fp8.quantized->tensor.codes[3] = 0x7F;
  EXPECT_EQ(with_inputs(fp8, {.type = ActivationType::kFp8}).first, WeightScheme::kFp16);
  // INT8 weights alone, narrow groups: no kernel.
  EXPECT_EQ(with_inputs(int8, {}).first, WeightScheme::kFp16);
  EXPECT_THAT(with_inputs(int8, {}).second,
              HasSubstr("no kernel for 'int8 symmetric, one scale per row': dequantized exactly"));
  EXPECT_EQ(ServedAs(Random(8, 64, 16, 4, TensorCode::kUnsigned, true, kSeed)).first,
            WeightScheme::kFp16);
  EXPECT_EQ(ServedAs(Random(8, 64, 32, 2, TensorCode::kUnsigned, true, kSeed)).first,
            WeightScheme::kW4A16);
  LoadedWeight far = Random(8, 64, 32, 4, TensorCode::kSigned, true, kSeed);
  far.quantized->tensor.zeros[0] = 300;
  EXPECT_EQ(ServedAs(far).first, WeightScheme::kFp16);
}

TEST(NativeForm, StacksPartsOfDifferentForms) {
  std::vector<LoadedWeight> parts;
  parts.push_back(Random(8, 64, 32, 4, TensorCode::kSigned, false, kSeed));
  parts.push_back(Random(4, 64, 32, 4, TensorCode::kUnsigned, true, kSeed + 1));
  parts.push_back(Random(4, 64, 32, 3, TensorCode::kSigned, true, kSeed + 2));
  QuantizedTensor& last = parts.back().quantized->tensor;  // of another scale type
  last.scale_type = kernels::ScalarType::kFp32;
  last.scales.assign(static_cast<size_t>(last.n * last.groups()) * 4, std::byte{0x3C});
  std::vector<std::vector<float>> expected;
  for (const LoadedWeight& part : parts) {
    expected.push_back(Dequantize(part.quantized->tensor, RunSerially));
  }
  const StackForm form = NativeForm(std::move(parts), true, RunSerially);
  EXPECT_EQ(form.scheme, WeightScheme::kW4A16);
  EXPECT_EQ(form.note, "");
  ExpectValues(form, expected);
}

TEST(NativeForm, PartsThatCannotBeStackedBecomeFp16) {
  std::vector<LoadedWeight> parts;
  parts.push_back(Random(8, 64, 32, 4, TensorCode::kSigned, false, kSeed));
  parts.push_back(Random(4, 64, 64, 4, TensorCode::kSigned, false, kSeed + 1));
  const std::vector<float> values(4 * 64, 0.25f);
  const TensorView dense{DataType::kF32, {4, 64}, std::as_bytes(std::span(values))};
  std::vector<std::vector<float>> expected;
  for (const LoadedWeight& part : parts) {
    expected.push_back(Dequantize(part.quantized->tensor, RunSerially));
  }
  StackForm form = NativeForm({Copy(parts[0]), Copy(parts[1])}, true, RunSerially);
  EXPECT_EQ(form.scheme, WeightScheme::kFp16);
  EXPECT_THAT(form.note, HasSubstr("in these layers"));
  ExpectValues(form, expected);
  form = NativeForm({Copy(parts[0]), {&dense, std::nullopt}}, true, RunSerially);
  EXPECT_EQ(form.scheme, WeightScheme::kFp16);
  ExpectValues(form, {expected[0], values});
}

TEST(NativeForm, GathersOneOrderForAllParts) {
  std::vector<int32_t> groups(64);
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<int32_t>(i / 32);
  std::mt19937 random(kSeed);
  std::shuffle(groups.begin(), groups.end(), random);
  const auto ordered = [&](uint32_t seed, const std::vector<int32_t>& order) {
    LoadedWeight weight = Random(8, 64, 32, 4, TensorCode::kUnsigned, true, seed);
    weight.quantized->tensor.column_group = order;
    return weight;
  };
  std::vector<std::vector<float>> expected;
  for (uint32_t seed : {1u, 2u}) {
    expected.push_back(Dequantize(ordered(seed, groups).quantized->tensor, RunSerially));
  }
  StackForm form = NativeForm({ordered(1, groups), ordered(2, groups)}, true, RunSerially);
  EXPECT_EQ(form.scheme, WeightScheme::kW4A16);
  EXPECT_EQ(form.gather.size(), 64u);
  ExpectValues(form, expected);

  std::vector<int32_t> other(groups.rbegin(), groups.rend());
  form = NativeForm({ordered(1, groups), ordered(2, other)}, true, RunSerially);
  EXPECT_EQ(form.scheme, WeightScheme::kFp16);
  // One group of 33 columns and one of 31 are no groups of 32.
  std::vector<int32_t> uneven = groups;
  *std::find(uneven.begin(), uneven.end(), 1) = 0;
  EXPECT_EQ(ServedAs(ordered(1, uneven)).first, WeightScheme::kFp16);
}

}  // namespace
}  // namespace baton
