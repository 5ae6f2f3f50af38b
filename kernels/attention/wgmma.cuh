// The warpgroup matrix products of prefill attention (PTX ISA 9.0, wgmma.mma_async): 64 rows of a
// warpgroup, fp32 accumulators, 16-bit operands. Accumulator d[4 j + e] of lane l of warp w holds
// row 16 w + l / 4 + 8 (e / 2), column 8 j + 2 (l % 4) + e % 2.
#pragma once

#include <cstdint>

#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/ptx.cuh"

namespace baton::kernels::cuda {

// Descriptors of operands in shared memory, written by 128-byte-swizzled tensor copies of 64
// elements (128 bytes) a row: rows of 8 form an atom of 1024 bytes, to which addresses are aligned.
inline constexpr uint64_t kSwizzle128 = 1ull << 62;
__device__ __forceinline__ uint64_t Descriptor(uint32_t shared, uint32_t leading_bytes,
                                               uint32_t stride_bytes) {
  return kSwizzle128 | static_cast<uint64_t>((shared & 0x3FFFF) >> 4) |
         static_cast<uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32;
}
// Rows are the M or N dimension, the 64 elements of a row are K: a step of 16 along K is 32 bytes.
__device__ __forceinline__ uint64_t RowsDescriptor(uint32_t shared) {
  return Descriptor(shared, 16, 1024);
}
// Rows are K, the 64 elements of a row are N; the next 64 elements of N are `next_bytes` away.
// A step of 16 along K is 2048 bytes.
__device__ __forceinline__ uint64_t ColumnsDescriptor(uint32_t shared, uint32_t next_bytes) {
  return Descriptor(shared, next_bytes, 1024);
}

// Keeps the compiler from moving accesses to accumulators over an asynchronous product.
template <int kCount>
__device__ __forceinline__ void FenceRegisters(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void FenceRegisters(uint32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#define BATON_D8(d, i)                                                                        \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define BATON_D32(d, i) BATON_D8(d, i), BATON_D8(d, i + 8), BATON_D8(d, i + 16), BATON_D8(d, i + 24)
#define BATON_R0_31                                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define BATON_R32_63                                                                           \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// One step of 16 along K. Scores: d[64 x 128] (+)= A·Bᵀ, A (64 rows) and B (128 rows) by
// RowsDescriptor. Values: d[64 x N] (+)= A·B, A from registers (as the accumulators' layout gives
// it), B by ColumnsDescriptor. `add`: 0 to start from zero.
#define BATON_WGMMA(TYPE, NAME)                                                                  \
  __device__ __forceinline__ void Scores(TYPE, float(&d)[64], uint64_t a, uint64_t b, int add) { \
    asm volatile(                                                                                \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %66, 0;\n\t"                                       \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." NAME "." NAME " {" BATON_R0_31            \
        ", " BATON_R32_63 "}, %64, %65, p, 1, 1, 0, 0;\n\t}"                                     \
        : BATON_D32(d, 0), BATON_D32(d, 32)                                                      \
        : "l"(a), "l"(b), "r"(add));                                                             \
  }                                                                                              \
  __device__ __forceinline__ void Values(TYPE, float(&d)[64], const uint32_t* a, uint64_t b,     \
                                         int add) {                                              \
    asm volatile(                                                                                \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %69, 0;\n\t"                                       \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." NAME "." NAME " {" BATON_R0_31            \
        ", " BATON_R32_63 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n\t}"                       \
        : BATON_D32(d, 0), BATON_D32(d, 32)                                                      \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));                         \
  }                                                                                              \
  __device__ __forceinline__ void Values(TYPE, float(&d)[32], const uint32_t* a, uint64_t b,     \
                                         int add) {                                              \
    asm volatile(                                                                                \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"                                       \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." NAME "." NAME " {" BATON_R0_31             \
        "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n\t}"                                         \
        : BATON_D32(d, 0)                                                                        \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));                         \
  }
BATON_WGMMA(Fp16, "f16")
BATON_WGMMA(Bf16, "bf16")
#undef BATON_WGMMA
#undef BATON_R32_63
#undef BATON_R0_31
#undef BATON_D32
#undef BATON_D8

}  // namespace baton::kernels::cuda
