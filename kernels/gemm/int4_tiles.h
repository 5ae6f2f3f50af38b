// INT4 weights in the order that the CUDA kernels read: the form of a WeightView on a device, made
// once at load. Pure host code; the bytes are copied to the device as they are.
//
// A tile is 16 rows × 128 of K, the left operand of eight m16n8k16 (or a quarter of eight m64nXk16)
// matrix instructions; tiles of a row of tiles follow each other along K. A tile holds
//   codes   [2][32 lanes][4 words]  word i of half h is k16 step 4h + i: a lane's eight codes
//   scales  [128 / g][16 rows]      16 bits, g = min(group, 128)
//   zeros   [128 / g][16 rows]      one byte each; only in layouts with zero points
// With r = lane / 4 and c = 2 · (lane % 4), nibble j of a word holds row r + 8·(j % 2), column
// c + 8·(j / 2 % 2) + j / 4: masks and shifts alone give the operand's four registers.
// The last tile of a row may reach beyond K, a multiple of 64: kernels stop at K.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels {

struct Int4TileLayout {
  static constexpr int kTileRows = 16;
  static constexpr int kTileK = 128;
  static constexpr int kCodeBytes = kTileRows * kTileK / 2;
  static constexpr int kMaxZero = 63;

  int64_t n = 0;      // output features: the rows of all stacked matrices
  int64_t k = 0;      // input features
  int64_t group = 0;  // along K, 32, 64 or a multiple of 128 (K for one scale per row)
  ScalarType scale_type = ScalarType::kFp16;
  bool zeros = false;  // zero points are stored; without them all are 8

  int64_t row_tiles() const { return (n + kTileRows - 1) / kTileRows; }
  int64_t k_tiles() const { return (k + kTileK - 1) / kTileK; }
  int scale_groups() const { return group < kTileK ? kTileK / static_cast<int>(group) : 1; }
  int tile_bytes() const { return kCodeBytes + scale_groups() * kTileRows * (zeros ? 3 : 2); }
  size_t bytes() const {
    return static_cast<size_t>(row_tiles() * k_tiles()) * static_cast<size_t>(tile_bytes());
  }
};

// Why `parts`, stacked along N, cannot take this form; empty if they can. Beyond PackProblem for
// kW4A16: N and K are multiples of 64; the group is 32, 64, a multiple of 128, or at least K;
// scales are fp16 or bf16; zero points lie within 0 … 63 of the unsigned codes.
std::string Int4TileProblem(std::span<const WeightView> parts);

// Int4TileProblem(parts) must be empty in both.
Int4TileLayout LayoutInt4Tiles(std::span<const WeightView> parts);
// `out` has the layout's bytes().
void PackInt4Tiles(std::span<const WeightView> parts, const Int4TileLayout& layout,
                   std::span<uint8_t> out);

}  // namespace baton::kernels
