// INT4 codes to 16-bit matrix operands in registers: the one functor a weight format of this family
// needs. A word of a tile (int4_tiles.h) becomes the four registers of an m16n8k16 left operand,
// exactly: code - zero is an integer of at most 7 bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/numeric.cuh"

namespace baton::kernels::cuda {

__device__ __forceinline__ uint32_t MaskOr(uint32_t word, uint32_t mask, uint32_t bits) {
  uint32_t out;  // (word & mask) | bits
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(out) : "r"(word), "r"(mask), "r"(bits));
  return out;
}

// Zero points of the lane's two rows (r and r + 8), prepared once per scale group.
template <typename T>
struct Int4;

// fp16: 0x6400 | x is 1024 + x; 0x6400 | x << 4 is 1024 + 16x.
template <>
struct Int4<Fp16> {
  struct Zeros {
    uint32_t low = 0x64086408u;   // 1024 + z of row r
    uint32_t high = 0xD480D480u;  // -(64 + z) of row r + 8
  };
  static __device__ __forceinline__ Zeros Prepare(uint32_t z0, uint32_t z1) {
    return {0x64006400u + z0 * 0x00010001u, 0xD400D400u + z1 * 0x00100010u};
  }
  static __device__ __forceinline__ void Decode(uint32_t q, const Zeros& z, uint32_t (&a)[4]) {
    const uint32_t p = q >> 8;
    a[0] = Subtract(MaskOr(q, 0x000F000Fu, 0x64006400u), z.low);
    a[1] = ScaleDown(MaskOr(q, 0x00F000F0u, 0x64006400u), z.high);
    a[2] = Subtract(MaskOr(p, 0x000F000Fu, 0x64006400u), z.low);
    a[3] = ScaleDown(MaskOr(p, 0x00F000F0u, 0x64006400u), z.high);
  }
  // A stored scale, twice, in this type.
  static __device__ __forceinline__ uint32_t Scale(uint16_t bits, bool bf16) {
    const uint32_t x =
        bf16 ? __half_as_ushort(__float2half_rn(__uint_as_float(static_cast<uint32_t>(bits) << 16)))
             : bits;
    return x * 0x00010001u;
  }
  static __device__ __forceinline__ uint32_t Multiply(uint32_t a, uint32_t b) {
    const __half2 x = __hmul2(Pair(a), Pair(b));
    return Word(x);
  }

 private:
  static __device__ __forceinline__ __half2 Pair(uint32_t x) {
    return *reinterpret_cast<const __half2*>(&x);
  }
  static __device__ __forceinline__ uint32_t Word(__half2 x) {
    return *reinterpret_cast<const uint32_t*>(&x);
  }
  static __device__ __forceinline__ uint32_t Subtract(uint32_t a, uint32_t b) {
    return Word(__hsub2(Pair(a), Pair(b)));
  }
  static __device__ __forceinline__ uint32_t ScaleDown(uint32_t a, uint32_t c) {
    return Word(__hfma2(Pair(a), Pair(0x2C002C00u), Pair(c)));  // a / 16 + c
  }
};

// bf16: 0x4300 | x is 128 + x.
template <>
struct Int4<Bf16> {
  struct Zeros {
    uint32_t low = 0x43084308u;   // 128 + z of row r
    uint32_t high = 0x43084308u;  // of row r + 8
  };
  static __device__ __forceinline__ Zeros Prepare(uint32_t z0, uint32_t z1) {
    return {0x43004300u + z0 * 0x00010001u, 0x43004300u + z1 * 0x00010001u};
  }
  static __device__ __forceinline__ void Decode(uint32_t q, const Zeros& z, uint32_t (&a)[4]) {
    a[0] = Subtract(MaskOr(q, 0x000F000Fu, 0x43004300u), z.low);
    a[1] = Subtract(MaskOr(q >> 4, 0x000F000Fu, 0x43004300u), z.high);
    a[2] = Subtract(MaskOr(q >> 8, 0x000F000Fu, 0x43004300u), z.low);
    a[3] = Subtract(MaskOr(q >> 12, 0x000F000Fu, 0x43004300u), z.high);
  }
  static __device__ __forceinline__ uint32_t Scale(uint16_t bits, bool bf16) {
    const uint32_t x =
        bf16 ? bits
             : __bfloat16_as_ushort(__float2bfloat16_rn(__half2float(__ushort_as_half(bits))));
    return x * 0x00010001u;
  }
  static __device__ __forceinline__ uint32_t Multiply(uint32_t a, uint32_t b) {
    const __nv_bfloat162 x = __hmul2(Pair(a), Pair(b));
    return Word(x);
  }

 private:
  static __device__ __forceinline__ __nv_bfloat162 Pair(uint32_t x) {
    return *reinterpret_cast<const __nv_bfloat162*>(&x);
  }
  static __device__ __forceinline__ uint32_t Word(__nv_bfloat162 x) {
    return *reinterpret_cast<const uint32_t*>(&x);
  }
  static __device__ __forceinline__ uint32_t Subtract(uint32_t a, uint32_t b) {
    return Word(__hsub2(Pair(a), Pair(b)));
  }
};

__device__ __forceinline__ void Mma(Fp16, float (&d)[4], const uint32_t (&a)[4],
                                    const uint32_t (&b)[2]) {
  MmaFp16(d, a, b);
}
__device__ __forceinline__ void Mma(Bf16, float (&d)[4], const uint32_t (&a)[4],
                                    const uint32_t (&b)[2]) {
  MmaBf16(d, a, b);
}

// A 16-bit scale of either type.
__device__ __forceinline__ float ScaleFromBits(uint16_t bits, bool bf16) {
  return bf16 ? __uint_as_float(static_cast<uint32_t>(bits) << 16)
              : __half2float(__ushort_as_half(bits));
}

}  // namespace baton::kernels::cuda
