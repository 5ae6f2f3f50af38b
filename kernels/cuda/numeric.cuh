// Conversions on the device, bit for bit those of kernels/numeric/formats.h, and 16-bit activation
// types as template arguments. Multiply-adds are contracted by the compiler unless written with
// __fmul_rn / __fadd_rn: code whose bits are compared with the CPU spells them out.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

// --- Activations -------------------------------------------------------------------------------

// One pair of activations is one 32-bit word, the lower address in the low half.
struct Fp16 {
  using Value = __half;
  static constexpr ActivationType kType = ActivationType::kFp16;
  static __device__ __forceinline__ float ToFloat(Value v) { return __half2float(v); }
  static __device__ __forceinline__ Value FromFloat(float x) { return __float2half_rn(x); }
  static __device__ __forceinline__ float2 ToFloat2(uint32_t pair) {
    return __half22float2(*reinterpret_cast<const __half2*>(&pair));
  }
  // Rounds to nearest even; overflow gives an infinity, as a CPU conversion does.
  static __device__ __forceinline__ uint32_t FromFloat2(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
};

struct Bf16 {
  using Value = __nv_bfloat16;
  static constexpr ActivationType kType = ActivationType::kBf16;
  static __device__ __forceinline__ float ToFloat(Value v) { return __bfloat162float(v); }
  static __device__ __forceinline__ Value FromFloat(float x) { return __float2bfloat16_rn(x); }
  static __device__ __forceinline__ float2 ToFloat2(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u));
  }
  static __device__ __forceinline__ uint32_t FromFloat2(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
};

// Eight activations, one 16-byte access.
template <typename T>
__device__ __forceinline__ void Unpack8(const uint4& packed, float (&x)[8]) {
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = T::ToFloat2(words[i]);
    x[2 * i] = pair.x;
    x[2 * i + 1] = pair.y;
  }
}
template <typename T>
__device__ __forceinline__ uint4 Pack8(const float (&x)[8]) {
  return make_uint4(T::FromFloat2(x[0], x[1]), T::FromFloat2(x[2], x[3]), T::FromFloat2(x[4], x[5]),
                    T::FromFloat2(x[6], x[7]));
}

// --- Storage formats: saturating, NaN keeps its sign (numbers.md) ------------------------------

__device__ __forceinline__ bool IsNan(float x) { return x != x; }
__device__ __forceinline__ bool IsFinite(float x) {
  return (__float_as_uint(x) & 0x7F800000u) != 0x7F800000u;
}
__device__ __forceinline__ uint32_t SignBit(float x) { return __float_as_uint(x) >> 31; }

__device__ __forceinline__ uint16_t Fp16FromFloat(float x) {
  const __half rounded = __float2half_rn(fminf(fmaxf(x, -65504.0f), 65504.0f));
  return IsNan(x) ? static_cast<uint16_t>(0x7E00u | SignBit(x) << 15) : __half_as_ushort(rounded);
}
__device__ __forceinline__ uint16_t Bf16FromFloat(float x) {
  const float largest = __uint_as_float(0x7F7F0000u);
  const __nv_bfloat16 rounded = __float2bfloat16_rn(fminf(fmaxf(x, -largest), largest));
  return IsNan(x) ? static_cast<uint16_t>(0x7FC0u | SignBit(x) << 15)
                  : __bfloat16_as_ushort(rounded);
}
__device__ __forceinline__ float FloatFromFp16(uint16_t code) {
  return __half2float(__ushort_as_half(code));
}

// NaN gives 0x7F whatever its sign: callers of the scaled format have none (a group with NaN has
// codes 0). Bytes in order: the first argument is the lower address.
__device__ __forceinline__ uint32_t E4m3x4FromFloat(float a, float b, float c, float d) {
  const uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
  const uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, __NV_E4M3);
  return low | high << 16;
}
__device__ __forceinline__ uint8_t E4m3FromFloat(float x) {
  return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
}
__device__ __forceinline__ uint8_t E5m2FromFloat(float x) {
  const uint8_t code = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E5M2);
  return IsNan(x) ? static_cast<uint8_t>(0x7Fu | SignBit(x) << 7) : code;
}
// Two e4m3 codes to a pair of fp16: exact.
__device__ __forceinline__ uint32_t Fp16x2FromE4m3x2(uint16_t codes) {
  const __half2_raw raw = __nv_cvt_fp8x2_to_halfraw2(codes, __NV_E4M3);
  return static_cast<uint32_t>(raw.x) | static_cast<uint32_t>(raw.y) << 16;
}
__device__ __forceinline__ float FloatFromE4m3(uint8_t code) {
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
}

}  // namespace baton::kernels::cuda
