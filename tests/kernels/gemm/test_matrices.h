// Random weights and activations in every form the kernels take, with the storage behind the views.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gemm/gemm.h"

namespace baton::kernels {

// A way to write a weight matrix down and to multiply with it.
struct WeightForm {
  WeightScheme scheme = WeightScheme::kFp32;
  CodeType codes = CodeType::kDense;
  ScalarType type = ScalarType::kFp32;  // of the dense data or of the scales
  int64_t group = 0;                    // 0: one scale per row
  bool zeros = false;
};
std::string Describe(const WeightForm& form);

// All schemes; INT4 in symmetric and asymmetric forms with groups of 32, 64, 128 and per row.
std::vector<WeightForm> AllForms();

struct TestWeight {
  TestWeight(const WeightForm& form, int64_t n, int64_t k, uint32_t seed);
  WeightView View() const;
  double Value(int64_t row, int64_t at) const;  // exact

  WeightForm form;
  int64_t n;
  int64_t k;
  int64_t group;
  std::vector<float> dense32;
  std::vector<uint16_t> dense16;
  std::vector<int8_t> codes;
  std::vector<float> scales32;
  std::vector<uint16_t> scales16;
  std::vector<int32_t> zeros;
};

// Activations, fp32 and quantized.
struct TestActivations {
  TestActivations(int64_t m, int64_t k, uint32_t seed);
  void Quantize();  // after a change of `x`
  // What the kernel of the scheme multiplies with, exact.
  double Value(WeightScheme scheme, int64_t row, int64_t at) const;
  // A view of rows [first, first + count) for a product into `out`.
  GemmParams Rows(const PackedWeight& w, int64_t first, int64_t count, float* out) const;

  int64_t m;
  int64_t k;
  int64_t stride;
  std::vector<float> x;
  std::vector<int8_t> codes;
  std::vector<float> scale;
  std::vector<int32_t> sums;
  std::vector<int8_t> fp8_codes;
  std::vector<float> fp8_scale;
};

}  // namespace baton::kernels
