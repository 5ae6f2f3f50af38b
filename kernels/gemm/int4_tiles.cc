#include "kernels/gemm/int4_tiles.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/require.h"

namespace baton::kernels {
namespace {

constexpr int kSymmetricZero = 8;  // the zero point of signed INT4 in unsigned codes
constexpr int64_t kUnit = 64;      // of N and K
constexpr int kRows = Int4TileLayout::kTileRows;
constexpr int kTileK = Int4TileLayout::kTileK;

int64_t Groups(const WeightView& v) { return (v.k + v.group - 1) / v.group; }

// Codes and zero points in unsigned terms, 0 … 15 and up.
int UnsignedOffset(const WeightView& v) {
  return v.codes_type == CodeType::kInt4 ? kSymmetricZero : 0;
}
int UnsignedCode(const WeightView& v, int64_t row, int64_t k) {
  return v.codes[row * v.k + k] + UnsignedOffset(v);
}
int UnsignedZero(const WeightView& v, int64_t at) {
  return (v.zeros != nullptr ? v.zeros[at] : 0) + UnsignedOffset(v);
}

std::string PartProblem(const WeightView& v) {
  if (v.k % kUnit != 0) return "K is " + std::to_string(v.k) + ", expected a multiple of 64";
  if (v.group < v.k && v.group != 32 && v.group != 64 && v.group % kTileK != 0) {
    return "group is " + std::to_string(v.group) +
           ", expected 32, 64, a multiple of 128 or one group per row";
  }
  if (v.scale_type == ScalarType::kFp32) return "scales are fp32, expected fp16 or bf16";
  for (int64_t at = 0; at < v.n * Groups(v); ++at) {
    if (UnsignedZero(v, at) > Int4TileLayout::kMaxZero) {
      return "zero point " + std::to_string(v.zeros[at]) + " is more than " +
             std::to_string(Int4TileLayout::kMaxZero - UnsignedOffset(v)) +
             ", the largest of the CUDA kernels";
    }
  }
  return "";
}

class TilePacker {
 public:
  TilePacker(const Int4TileLayout& layout, std::span<uint8_t> out) : layout_(layout), out_(out) {}

  void PackRow(const WeightView& v, int64_t i, int64_t row) {
    uint8_t* tiles = out_.data() + row / kRows * layout_.k_tiles() * layout_.tile_bytes();
    const int lane_row = static_cast<int>(row % kRows);
    for (int64_t t = 0; t < layout_.k_tiles(); ++t) {
      uint8_t* tile = tiles + t * layout_.tile_bytes();
      PackCodes(v, i, t * kTileK, tile, lane_row);
      PackGroups(v, i, t * kTileK, tile + Int4TileLayout::kCodeBytes, lane_row);
    }
  }

 private:
  void PackCodes(const WeightView& v, int64_t i, int64_t k0, uint8_t* tile, int row) {
    const int count = static_cast<int>(std::min<int64_t>(kTileK, v.k - k0));
    for (int k = 0; k < count; ++k) {
      const int step = k / 16;
      const int lane = row % 8 * 4 + k % 8 / 2;
      const int nibble = row / 8 + k % 16 / 8 * 2 + k % 2 * 4;
      uint8_t& byte = tile[((step / 4 * 32 + lane) * 4 + step % 4) * 4 + nibble / 2];
      byte = static_cast<uint8_t>(byte | UnsignedCode(v, i, k0 + k) << (nibble % 2 * 4));
    }
  }

  void PackGroups(const WeightView& v, int64_t i, int64_t k0, uint8_t* scales, int row) {
    const int groups = layout_.scale_groups();
    uint8_t* zeros = scales + groups * kRows * 2;
    for (int j = 0; j < groups; ++j) {
      const int64_t k = k0 + j * (kTileK / groups);
      if (k >= v.k) continue;
      const int64_t from = i * Groups(v) + k / v.group;
      std::memcpy(scales + (j * kRows + row) * 2, static_cast<const uint8_t*>(v.scales) + from * 2,
                  2);
      if (layout_.zeros) zeros[j * kRows + row] = static_cast<uint8_t>(UnsignedZero(v, from));
    }
  }

  const Int4TileLayout& layout_;
  std::span<uint8_t> out_;
};

}  // namespace

std::string Int4TileProblem(std::span<const WeightView> parts) {
  std::string problem = PackProblem(parts, WeightScheme::kW4A16);
  int64_t n = 0;
  for (const WeightView& v : parts) {
    if (problem.empty()) problem = PartProblem(v);
    n += v.n;
  }
  if (problem.empty() && n % kUnit != 0) {
    problem = "N is " + std::to_string(n) + ", expected a multiple of 64";
  }
  return problem;
}

Int4TileLayout LayoutInt4Tiles(std::span<const WeightView> parts) {
  BATON_KERNELS_REQUIRE(Int4TileProblem(parts).empty());
  const WeightView& first = parts.front();
  Int4TileLayout layout = {
      .k = first.k, .group = std::min(first.group, first.k), .scale_type = first.scale_type};
  for (const WeightView& v : parts) {
    layout.n += v.n;
    for (int64_t at = 0; at < v.n * Groups(v); ++at) {
      layout.zeros = layout.zeros || UnsignedZero(v, at) != kSymmetricZero;
    }
  }
  return layout;
}

void PackInt4Tiles(std::span<const WeightView> parts, const Int4TileLayout& layout,
                   std::span<uint8_t> out) {
  BATON_KERNELS_REQUIRE(out.size() == layout.bytes());
  std::fill(out.begin(), out.end(), uint8_t{0});
  TilePacker packer(layout, out);
  int64_t row = 0;
  for (const WeightView& v : parts) {
    for (int64_t i = 0; i < v.n; ++i, ++row) packer.PackRow(v, i, row);
  }
}

}  // namespace baton::kernels
