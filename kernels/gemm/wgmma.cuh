// wgmma of one warpgroup: D[64, N] += A[64, k] · B[N, k]ᵀ, fp32 accumulators in registers, B in
// shared memory behind a descriptor. A thread of warp w holds rows 16w + lane / 4 (d[4j], d[4j+1])
// and 8 more (d[4j+2], d[4j+3]) of columns 8j + 2 · (lane % 4) and one more. Issue is asynchronous:
// WgmmaFence before the first of a batch, WgmmaCommit after the last, WgmmaWait before d is read or
// registers of A are reused (PTX ISA 9.0, 9.7.15).
#pragma once

#include <cstdint>

#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/ptx.cuh"

namespace baton::kernels::cuda {

// Operand in shared memory: rows of 128 bytes (64 halves or 128 bytes of K), 128-byte swizzle, as a
// tensor-map copy leaves them; `address` is aligned to 1024. Steps along K add 32 bytes.
__device__ __forceinline__ uint64_t WgmmaDescriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = 1ull << 62;
  constexpr uint64_t kStride = 1024 >> 4;  // between groups of 8 rows
  return kSwizzle128 | kStride << 32 | 1ull << 16 | (address & 0x3FFFF) >> 4;
}
__device__ __forceinline__ uint64_t WgmmaAdvance(uint64_t descriptor, uint32_t bytes) {
  return descriptor + (bytes >> 4);
}

#define BATON_F8(i)                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])

#define BATON_WGMMA_RS_16(TYPE)                                                                \
  asm volatile(                                                                                \
      "{.reg .pred p; setp.ne.b32 p, %13, 0; wgmma.mma_async.sync.aligned.m64n16k16.f32." TYPE \
      "." TYPE                                                                                 \
      " "                                                                                      \
      "{%0, %1, %2, %3, %4, %5, %6, %7}, "                                                     \
      "{%8, %9, %10, %11}, %12, p, 1, 1, 0;}"                                                  \
      : BATON_F8(0)                                                                            \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define BATON_WGMMA_RS_32(TYPE)                                                                \
  asm volatile(                                                                                \
      "{.reg .pred p; setp.ne.b32 p, %21, 0; wgmma.mma_async.sync.aligned.m64n32k16.f32." TYPE \
      "." TYPE                                                                                 \
      " "                                                                                      \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "               \
      "{%16, %17, %18, %19}, %20, p, 1, 1, 0;}"                                                \
      : BATON_F8(0), BATON_F8(8)                                                               \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define BATON_WGMMA_RS_64(TYPE)                                                                \
  asm volatile(                                                                                \
      "{.reg .pred p; setp.ne.b32 p, %37, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE \
      "." TYPE                                                                                 \
      " "                                                                                      \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "      \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "                \
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;}"                                                \
      : BATON_F8(0), BATON_F8(8), BATON_F8(16), BATON_F8(24)                                   \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define BATON_WGMMA_RS_128(TYPE)                                                                \
  asm volatile(                                                                                 \
      "{.reg .pred p; setp.ne.b32 p, %69, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE \
      "." TYPE                                                                                  \
      " "                                                                                       \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "       \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "        \
      "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "        \
      "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "                 \
      "{%64, %65, %66, %67}, %68, p, 1, 1, 0;}"                                                 \
      : BATON_F8(0), BATON_F8(8), BATON_F8(16), BATON_F8(24), BATON_F8(32), BATON_F8(40),       \
        BATON_F8(48), BATON_F8(56)                                                              \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define BATON_WGMMA_RS_256(TYPE)                                                                 \
  asm volatile(                                                                                  \
      "{.reg .pred p; setp.ne.b32 p, %133, 0; wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPE \
      "." TYPE                                                                                   \
      " "                                                                                        \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "        \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "         \
      "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "         \
      "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, "         \
      "%66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, "         \
      "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, "         \
      "%98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "       \
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "     \
      "%126, %127}, "                                                                            \
      "{%128, %129, %130, %131}, %132, p, 1, 1, 0;}"                                             \
      : BATON_F8(0), BATON_F8(8), BATON_F8(16), BATON_F8(24), BATON_F8(32), BATON_F8(40),        \
        BATON_F8(48), BATON_F8(56), BATON_F8(64), BATON_F8(72), BATON_F8(80), BATON_F8(88),      \
        BATON_F8(96), BATON_F8(104), BATON_F8(112), BATON_F8(120)                                \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate))
#define BATON_WGMMA_SS_8                                                                          \
  asm volatile(                                                                                   \
      "{.reg .pred p; setp.ne.b32 p, %6, 0; wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 " \
      "{%0, %1, %2, %3}, "                                                                        \
      "%4, %5, p, 1, 1;}"                                                                         \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                            \
      : "l"(a), "l"(b), "r"(accumulate))
#define BATON_WGMMA_SS_16                                     \
  asm volatile(                                               \
      "{.reg .pred p; setp.ne.b32 p, %10, 0; "                \
      "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e4m3 " \
      "{%0, %1, %2, %3, %4, %5, %6, %7}, "                    \
      "%8, %9, p, 1, 1;}"                                     \
      : BATON_F8(0)                                           \
      : "l"(a), "l"(b), "r"(accumulate))
#define BATON_WGMMA_SS_32                                                        \
  asm volatile(                                                                  \
      "{.reg .pred p; setp.ne.b32 p, %18, 0; "                                   \
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 "                    \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, " \
      "%16, %17, p, 1, 1;}"                                                      \
      : BATON_F8(0), BATON_F8(8)                                                 \
      : "l"(a), "l"(b), "r"(accumulate))
#define BATON_WGMMA_SS_64                                                                 \
  asm volatile(                                                                           \
      "{.reg .pred p; setp.ne.b32 p, %34, 0; "                                            \
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 "                             \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "           \
      "%32, %33, p, 1, 1;}"                                                               \
      : BATON_F8(0), BATON_F8(8), BATON_F8(16), BATON_F8(24)                              \
      : "l"(a), "l"(b), "r"(accumulate))
#define BATON_WGMMA_SS_128                                                                \
  asm volatile(                                                                           \
      "{.reg .pred p; setp.ne.b32 p, %66, 0; "                                            \
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "                            \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "  \
      "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "  \
      "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "           \
      "%64, %65, p, 1, 1;}"                                                               \
      : BATON_F8(0), BATON_F8(8), BATON_F8(16), BATON_F8(24), BATON_F8(32), BATON_F8(40), \
        BATON_F8(48), BATON_F8(56)                                                        \
      : "l"(a), "l"(b), "r"(accumulate))

// A: four registers of 16-bit pairs (the left operand of m16n8k16 in each warp). accumulate == 0
// starts from zero.
template <typename T, int kN>
__device__ __forceinline__ void WgmmaRs(float (&d)[kN / 2], const uint32_t (&a)[4], uint64_t b,
                                        uint32_t accumulate) {
  constexpr bool kHalf = T::kType == ActivationType::kFp16;
#define BATON_CASE(N)                                        \
  if constexpr (kN == N && kHalf) BATON_WGMMA_RS_##N("f16"); \
  if constexpr (kN == N && !kHalf) BATON_WGMMA_RS_##N("bf16")
  BATON_CASE(16);
  BATON_CASE(32);
  BATON_CASE(64);
  BATON_CASE(128);
  BATON_CASE(256);
#undef BATON_CASE
}

// e4m3 operands, both in shared memory.
template <int kN>
__device__ __forceinline__ void WgmmaE4m3(float (&d)[kN / 2], uint64_t a, uint64_t b,
                                          uint32_t accumulate) {
  if constexpr (kN == 8) BATON_WGMMA_SS_8;
  if constexpr (kN == 16) BATON_WGMMA_SS_16;
  if constexpr (kN == 32) BATON_WGMMA_SS_32;
  if constexpr (kN == 64) BATON_WGMMA_SS_64;
  if constexpr (kN == 128) BATON_WGMMA_SS_128;
}

#undef BATON_WGMMA_RS_16
#undef BATON_WGMMA_RS_32
#undef BATON_WGMMA_RS_64
#undef BATON_WGMMA_RS_128
#undef BATON_WGMMA_RS_256
#undef BATON_WGMMA_SS_8
#undef BATON_WGMMA_SS_16
#undef BATON_WGMMA_SS_32
#undef BATON_WGMMA_SS_64
#undef BATON_WGMMA_SS_128
#undef BATON_F8

}  // namespace baton::kernels::cuda
