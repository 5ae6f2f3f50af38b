// The instantiated kernels, and how much shared memory they take: what host heuristics and device
// code must agree on. Plain C++.
#pragma once

namespace baton::kernels::cuda {

// w4a16_small.cuh: `tiles` of 16 rows a pass, `warps` that split K.
struct SmallVariant {
  int tokens = 0;  // at most; a multiple of 8
  int tiles = 0;
  int warps = 0;

  constexpr int rows() const { return 16 * tiles; }
  // Row tiles whose sums the warps exchange at a time.
  constexpr int chunk() const {
    const int most = tokens >= 32 ? 1 : 32 / tokens;
    return tiles < most ? tiles : most;
  }
  constexpr int sum_bytes() const { return warps * tokens * (chunk() * 16 + 4) * 4; }
  constexpr int stage_bytes(int m, int tile_bytes) const {
    return (warps * (256 * m + tiles * tile_bytes) + 1023) / 1024 * 1024;
  }
  // Everything but the stages and their barriers; 1024 for the alignment of the ring.
  constexpr int fixed_bytes(int split) const {
    return 1024 + sum_bytes() + (split > 1 ? tokens * rows() * 4 : 0);
  }
};

// w4a16_large.cuh: `groups` warpgroups side by side, of `blocks` · 64 rows each, for each of
// `parts` of K; `multicast` blocks of a cluster share the activations.
struct LargeVariant {
  int tokens = 0;
  int groups = 0;
  int blocks = 1;
  int parts = 1;

  constexpr int rows() const { return 64 * groups * blocks; }
  constexpr int weight_bytes(int tile_bytes) const {
    return (rows() / 16 * tile_bytes + 1023) / 1024 * 1024;
  }
  constexpr int stage_bytes(int tile_bytes) const {
    return tokens * 256 + weight_bytes(tile_bytes);
  }
  constexpr int chunk() const { return tokens < 64 ? tokens : 64; }  // tokens stored at a time
  static constexpr int kChunkPitch = 144;                            // bytes of a token's 64 rows
  constexpr int chunk_bytes() const { return groups * chunk() * kChunkPitch; }
  constexpr int fixed_bytes() const { return 1024 + chunk_bytes(); }
  // Partial sums of the parts, over the ring.
  constexpr int share_bytes() const { return parts * tokens * (rows() + 4) * 4; }
};

// fp8_small.cuh: `groups` warpgroups of 64 rows.
struct Fp8Variant {
  int tokens = 0;
  int groups = 0;

  constexpr int rows() const { return 64 * groups; }
  constexpr int stage_bytes() const { return (rows() + tokens) * 128; }
  constexpr int fixed_bytes() const { return 1024 + tokens * (rows() + 4) * 4; }
};

constexpr int kBarrierBytes = 16;  // of a stage

}  // namespace baton::kernels::cuda
