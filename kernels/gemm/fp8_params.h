// What the FP8 kernel is launched with: filled in by fp8.cc from GemmFp8Params and a configuration.
// Plain C++.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

struct Fp8SmallParams {
  const float* token_scales = nullptr;   // [m]
  const float* weight_scales = nullptr;  // [n]
  const uint8_t* bias = nullptr;         // [n] of the activation type, or null
  uint8_t* out = nullptr;                // [m, ldo] of the activation type
  int64_t ldo = 0;                       // values
  int m = 0;                             // at most the kernel's tokens
  int n = 0;
  int k_units = 0;  // 128s of K, the last perhaps short
  int row_blocks = 0;
  int split = 1;  // blocks of a cluster that share K; one row block a cluster where more than 1
  int stages = 0;
};

}  // namespace baton::kernels::cuda
