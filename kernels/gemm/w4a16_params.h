// What the W4A16 kernels are launched with: filled in by w4a16.cc from GemmW4A16Params and a
// configuration. Plain C++.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

struct W4A16SmallParams {
  const uint8_t* bias = nullptr;  // [n] of the activation type, or null
  uint8_t* out = nullptr;         // [m, ldo] of the activation type
  int64_t ldo = 0;                // values
  int m = 0;
  int n = 0;
  int k_tiles = 0;
  int tile_bytes = 0;
  int scale_groups = 0;  // of a tile
  bool scale_bf16 = false;
  int split = 1;   // blocks of a cluster that share K; passes is 1 where it is more than 1
  int passes = 1;  // of a block over K
  int stages = 0;
  int stage_bytes = 0;
};

struct W4A16LargeParams {
  const uint8_t* bias = nullptr;  // [n] of the activation type, or null
  uint8_t* out = nullptr;         // [m, ldo] of the activation type
  int64_t ldo = 0;                // values
  int m = 0;
  int n = 0;
  int k_tiles = 0;
  int tile_bytes = 0;
  int scale_groups = 0;  // of a tile
  bool scale_bf16 = false;
  int split = 1;  // blocks of a cluster that share K; one tile a cluster where it is more than 1
  int stages = 0;
  int stage_bytes = 0;
  int row_blocks = 0;            // of a cluster's rows
  int token_blocks = 0;          // of a block's tokens
  int token_group = 1;           // token blocks that are walked side by side
  bool keep_activations = true;  // in the L2
};

}  // namespace baton::kernels::cuda
