// Activation quantization: one row (token) at a time, symmetric INT8 or FP8.
#pragma once

#include <cstdint>

namespace baton::kernels {

// Values per entry of QuantizedRows::sums, and the unit to which rows are padded.
inline constexpr int64_t kActivationBlock = 32;

constexpr int64_t PaddedActivations(int64_t k) {
  return (k + kActivationBlock - 1) / kActivationBlock * kActivationBlock;
}

enum class ActivationCode : uint8_t {
  kInt8,  // -127 … 127
  kE4m3,  // the byte of an fp8 e4m3fn number
};

// Quantized activations, owned by the caller. value[m,k] = scale[m] · codes[m,k].
struct QuantizedRows {
  int8_t* codes = nullptr;  // [M, stride]; zero from K to PaddedActivations(K)
  float* scale = nullptr;   // [M]
  int32_t* sums = nullptr;  // kInt8: [M, stride / kActivationBlock], sum of all codes up to the end
                            // of each block. kE4m3: unused, may be null
  int64_t stride = 0;       // codes between rows, a multiple of kActivationBlock
};

struct QuantizeParams {
  const float* x = nullptr;  // [M, K]
  int64_t m = 0;
  int64_t k = 0;
  int64_t ldx = 0;  // values between rows of x
  ActivationCode code = ActivationCode::kInt8;
  QuantizedRows out;
};

// kInt8: scale = amax / 127 (IEEE division), code = clamp(rint(x / scale), -127, 127).
// kE4m3: scale = amax / 448, code = x / scale rounded to e4m3 (ties to even, saturating).
// A row of zeros has scale 0 and codes 0. A row with Inf or NaN has scale NaN and codes 0.
// Rows are split over the parts; any thread may run any part. Both give the same bits.
void QuantizeRowsReference(const QuantizeParams& params);
void QuantizeRowsCpu(const QuantizeParams& params, int part, int parts);

}  // namespace baton::kernels
