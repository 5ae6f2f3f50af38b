// Activation quantization to FP8: one row (token) at a time, symmetric e4m3.
#pragma once

#include <cstdint>

namespace baton::kernels {

struct QuantizeFp8Params {
  const float* x = nullptr;  // [M, ldx]
  int64_t m = 0;
  int64_t k = 0;
  int64_t ldx = 0;           // values between rows of x
  uint8_t* codes = nullptr;  // [M, K] e4m3
  float* scale = nullptr;    // [M]; value[m,k] = scale[m] · codes[m,k]
};

// scale = amax / 448 (IEEE division), code = saturate(x / scale). A row of zeros has scale 0 and
// codes 0. A row with Inf or NaN has scale NaN and codes 0.
void QuantizeRowsFp8Reference(const QuantizeFp8Params& params);

}  // namespace baton::kernels
