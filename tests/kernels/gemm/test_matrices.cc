#include "tests/kernels/gemm/test_matrices.h"

#include <random>

#include "kernels/numeric/formats.h"

namespace baton::kernels {
namespace {

float Decode(ScalarType type, uint16_t bits) {
  return type == ScalarType::kFp16 ? FloatFromFp16(bits) : FloatFromBf16(bits);
}

uint16_t Encode(ScalarType type, float x) {
  return type == ScalarType::kFp16 ? Fp16FromFloat(x) : Bf16FromFloat(x);
}

}  // namespace

std::string Describe(const WeightForm& form) {
  const char* types[] = {"fp32", "fp16", "bf16"};
  return std::string(Name(form.scheme)) + " " + types[static_cast<int>(form.type)] + " group " +
         std::to_string(form.group) + (form.zeros ? " zeros" : "") +
         (form.codes == CodeType::kUint4 ? " unsigned" : "");
}

std::vector<WeightForm> AllForms() {
  std::vector<WeightForm> forms = {
      {WeightScheme::kFp32, CodeType::kDense, ScalarType::kFp32},
      {WeightScheme::kFp16, CodeType::kDense, ScalarType::kFp16},
      {WeightScheme::kBf16, CodeType::kDense, ScalarType::kBf16},
      {WeightScheme::kW8A8, CodeType::kInt8, ScalarType::kFp32},
      {WeightScheme::kW8A8, CodeType::kInt8, ScalarType::kBf16},
      {WeightScheme::kW8A8Fp8, CodeType::kE4m3, ScalarType::kFp32},
      {WeightScheme::kW8A8Fp8, CodeType::kE4m3, ScalarType::kFp16},
  };
  for (WeightScheme scheme : {WeightScheme::kW4A16, WeightScheme::kW4A8}) {
    forms.push_back({scheme, CodeType::kInt4, ScalarType::kFp16, 32, false});
    forms.push_back({scheme, CodeType::kUint4, ScalarType::kFp16, 64, true});
    forms.push_back({scheme, CodeType::kInt4, ScalarType::kBf16, 128, false});
    forms.push_back({scheme, CodeType::kInt4, ScalarType::kFp32, 0, false});
    forms.push_back({scheme, CodeType::kUint4, ScalarType::kFp32, 0, true});
    forms.push_back({scheme, CodeType::kUint4, ScalarType::kFp16, 128, false});
  }
  return forms;
}

TestWeight::TestWeight(const WeightForm& f, int64_t rows, int64_t depth, uint32_t seed)
    : form(f), n(rows), k(depth), group(f.group == 0 ? depth : f.group) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  if (form.codes == CodeType::kDense) {
    for (int64_t i = 0; i < n * k; ++i) {
      const float value = normal(rng);
      if (form.type == ScalarType::kFp32) {
        dense32.push_back(value);
      } else {
        dense16.push_back(Encode(form.type, value));
      }
    }
    return;
  }
  const int low = form.codes == CodeType::kInt8 ? -128 : form.codes == CodeType::kInt4 ? -8 : 0;
  std::uniform_int_distribution<int> code(low, form.codes == CodeType::kInt8 ? 127 : low + 15);
  std::uniform_int_distribution<int> zero(0, 16);
  std::uniform_real_distribution<float> scale(0.01f, 0.2f);
  for (int64_t i = 0; i < n * k; ++i) {
    // Bell-shaped as weights are, down to subnormal fp8 numbers.
    const int c = form.codes == CodeType::kE4m3 ? E4m3FromFloat(normal(rng) * 100.0f) : code(rng);
    codes.push_back(static_cast<int8_t>(c));
  }
  for (int64_t i = 0; i < n * ((k + group - 1) / group); ++i) {
    const float s = scale(rng);
    if (form.type == ScalarType::kFp32) {
      scales32.push_back(s);
    } else {
      scales16.push_back(Encode(form.type, s));
    }
    if (form.zeros) zeros.push_back(zero(rng));
  }
}

WeightView TestWeight::View() const {
  WeightView v;
  v.n = n;
  v.k = k;
  v.codes_type = form.codes;
  if (form.codes == CodeType::kDense) {
    v.dense_type = form.type;
    v.dense = dense32.empty() ? static_cast<const void*>(dense16.data()) : dense32.data();
    return v;
  }
  v.codes = codes.data();
  v.scale_type = form.type;
  v.scales = scales32.empty() ? static_cast<const void*>(scales16.data()) : scales32.data();
  v.zeros = zeros.empty() ? nullptr : zeros.data();
  v.group = group;
  return v;
}

double TestWeight::Value(int64_t row, int64_t at) const {
  const int64_t i = row * k + at;
  if (form.codes == CodeType::kDense) {
    return dense32.empty() ? Decode(form.type, dense16[i]) : dense32[i];
  }
  const int64_t j = row * ((k + group - 1) / group) + at / group;
  const double scale = scales32.empty() ? Decode(form.type, scales16[j]) : scales32[j];
  if (form.codes == CodeType::kE4m3) {
    return scale * FloatFromE4m3(static_cast<uint8_t>(codes[i]));
  }
  return scale * (codes[i] - (zeros.empty() ? 0 : zeros[j]));
}

TestActivations::TestActivations(int64_t rows, int64_t depth, uint32_t seed)
    : m(rows),
      k(depth),
      stride(PaddedActivations(depth)),
      x(rows * depth),
      codes(rows * stride),
      scale(rows),
      sums(rows * stride / kActivationBlock),
      fp8_codes(rows * stride),
      fp8_scale(rows) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  for (float& v : x) v = normal(rng);
  Quantize();
}

void TestActivations::Quantize() {
  QuantizeRowsReference({.x = x.data(),
                         .m = m,
                         .k = k,
                         .ldx = k,
                         .out = {codes.data(), scale.data(), sums.data(), stride}});
  QuantizeRowsReference({.x = x.data(),
                         .m = m,
                         .k = k,
                         .ldx = k,
                         .code = ActivationCode::kE4m3,
                         .out = {fp8_codes.data(), fp8_scale.data(), nullptr, stride}});
}

double TestActivations::Value(WeightScheme scheme, int64_t row, int64_t at) const {
  if (!TakesQuantizedActivations(scheme)) return x[row * k + at];
  if (ActivationCodeOf(scheme) == ActivationCode::kE4m3) {
    const auto code = static_cast<uint8_t>(fp8_codes[row * stride + at]);
    return static_cast<double>(fp8_scale[row]) * FloatFromE4m3(code);
  }
  return static_cast<double>(scale[row]) * codes[row * stride + at];
}

GemmParams TestActivations::Rows(const PackedWeight& w, int64_t first, int64_t count,
                                 float* out) const {
  GemmParams p;
  p.m = count;
  p.a = x.data() + first * k;
  p.lda = k;
  p.quantized.codes = const_cast<int8_t*>(codes.data()) + first * stride;
  p.quantized.scale = const_cast<float*>(scale.data()) + first;
  p.quantized.sums = const_cast<int32_t*>(sums.data()) + first * (stride / kActivationBlock);
  p.quantized.stride = stride;
  if (w.scheme() == WeightScheme::kW8A8Fp8) {
    p.quantized.codes = const_cast<int8_t*>(fp8_codes.data()) + first * stride;
    p.quantized.scale = const_cast<float*>(fp8_scale.data()) + first;
    p.quantized.sums = nullptr;
  }
  p.w = &w;
  p.out = out;
  p.ldo = w.n();
  return p;
}

}  // namespace baton::kernels
