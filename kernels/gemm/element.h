// One element of a packed matrix, the obvious way: for the reference and for embedding lookup.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/gemm/packed_weight.h"
#include "kernels/numeric/formats.h"

namespace baton::kernels::internal {

inline float ScalarAt(const uint8_t* data, ScalarType type, int64_t i) {
  if (type == ScalarType::kFp32) {
    float value;
    std::memcpy(&value, data + i * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + i * 2, 2);
  return type == ScalarType::kFp16 ? FloatFromFp16(bits) : FloatFromBf16(bits);
}

// Dense schemes.
inline float DenseAt(const PackedWeight& w, int64_t row, int64_t k) {
  const ScalarType type = w.scheme() == WeightScheme::kFp32   ? ScalarType::kFp32
                          : w.scheme() == WeightScheme::kFp16 ? ScalarType::kFp16
                                                              : ScalarType::kBf16;
  return ScalarAt(w.panel(row / PackedWeight::kPanel), type,
                  k * PackedWeight::kPanel + row % PackedWeight::kPanel);
}

// Code minus zero point.
inline int32_t CodeAt(const PackedWeight& w, int64_t row, int64_t k) {
  const uint8_t* panel = w.panel(row / PackedWeight::kPanel);
  const int64_t lane = row % PackedWeight::kPanel;
  if (w.scheme() == WeightScheme::kW8A8) {
    return panel[(k / 4 * PackedWeight::kPanel + lane) * 4 + k % 4] - 128;
  }
  const uint8_t byte = panel[(k / 8 * PackedWeight::kPanel + lane) * 4 + k % 4];
  const int32_t code = k % 8 >= 4 ? byte >> 4 : byte & 15;
  const uint8_t* zeros = w.zeros(row / PackedWeight::kPanel);
  return code - (zeros != nullptr ? zeros[k / w.group() * PackedWeight::kPanel + lane] : 8);
}

// kW8A8Fp8.
inline float Fp8At(const PackedWeight& w, int64_t row, int64_t k) {
  const uint8_t* panel = w.panel(row / PackedWeight::kPanel);
  return FloatFromE4m3(panel[k * PackedWeight::kPanel + row % PackedWeight::kPanel]);
}

inline float ScaleAt(const PackedWeight& w, int64_t row, int64_t group) {
  return ScalarAt(w.scales(row / PackedWeight::kPanel), w.scale_type(),
                  group * PackedWeight::kPanel + row % PackedWeight::kPanel);
}

}  // namespace baton::kernels::internal
