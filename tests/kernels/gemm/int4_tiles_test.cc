#include "kernels/gemm/int4_tiles.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/numeric/formats.h"
#include "tests/kernels/gemm/test_matrices.h"

namespace baton::kernels {
namespace {

WeightForm Form(CodeType codes, ScalarType type, int64_t group, bool zeros) {
  return {WeightScheme::kW4A16, codes, type, group, zeros};
}

// The value that the registers of a matrix instruction hold for (row, k), read as the kernels read
// it: a lane's word of 32 bits, then nibbles by position.
double Read(const Int4TileLayout& layout, const std::vector<uint8_t>& tiles, int64_t row,
            int64_t k) {
  const uint8_t* tile =
      tiles.data() + (row / 16 * layout.k_tiles() + k / 128) * layout.tile_bytes();
  const int r = static_cast<int>(row % 16);
  const int column = static_cast<int>(k % 16);
  const int step = static_cast<int>(k % 128 / 16);
  const int lane = r % 8 * 4 + column % 8 / 2;
  uint32_t word;
  std::memcpy(&word, tile + step / 4 * 512 + lane * 16 + step % 4 * 4, 4);
  const int pair = r / 8 + column / 8 * 2;  // the register; its halves are 16 bits apart
  const int code = static_cast<int>(word >> (pair % 2 * 4 + pair / 2 * 8 + column % 2 * 16)) & 15;
  const int group = static_cast<int>(k % 128 * layout.scale_groups() / 128);
  uint16_t bits;
  std::memcpy(&bits, tile + 1024 + (group * 16 + r) * 2, 2);
  const double scale =
      layout.scale_type == ScalarType::kFp16 ? FloatFromFp16(bits) : FloatFromBf16(bits);
  const int zero = layout.zeros ? tile[1024 + layout.scale_groups() * 32 + group * 16 + r] : 8;
  return scale * (code - zero);
}

std::vector<uint8_t> Tiles(std::span<const WeightView> parts, Int4TileLayout* layout) {
  EXPECT_EQ(Int4TileProblem(parts), "");
  *layout = LayoutInt4Tiles(parts);
  std::vector<uint8_t> tiles(layout->bytes(), 0xFF);
  PackInt4Tiles(parts, *layout, tiles);
  return tiles;
}

TEST(Int4Tiles, EveryValueIsWhereTheKernelsReadIt) {
  for (const CodeType codes : {CodeType::kInt4, CodeType::kUint4}) {
    for (const ScalarType type : {ScalarType::kFp16, ScalarType::kBf16}) {
      for (const int64_t group : {0, 32, 64, 128, 256}) {
        for (const bool zeros : {false, true}) {
          const TestWeight w(Form(codes, type, group, zeros), 64, 320, 3);
          const WeightView view = w.View();
          Int4TileLayout layout;
          const std::vector<uint8_t> tiles = Tiles({&view, 1}, &layout);
          for (int64_t i = 0; i < 64; ++i) {
            for (int64_t k = 0; k < 320; ++k) {
              ASSERT_EQ(Read(layout, tiles, i, k), w.Value(i, k))
                  << Describe(w.form) << " at " << i << "," << k;
            }
          }
        }
      }
    }
  }
}

TEST(Int4Tiles, StacksMatricesAlongN) {
  const WeightForm form = Form(CodeType::kUint4, ScalarType::kFp16, 128, true);
  const TestWeight a(form, 96, 128, 1);
  const TestWeight b(form, 32, 128, 2);
  const WeightView views[] = {a.View(), b.View()};
  Int4TileLayout layout;
  const std::vector<uint8_t> tiles = Tiles(views, &layout);
  ASSERT_EQ(layout.n, 128);
  for (int64_t i = 0; i < 128; ++i) {
    for (int64_t k = 0; k < 128; ++k) {
      ASSERT_EQ(Read(layout, tiles, i, k), i < 96 ? a.Value(i, k) : b.Value(i - 96, k));
    }
  }
}

TEST(Int4Tiles, ZeroPointsAreStoredOnlyWhereOneIsNotTheMiddle) {
  TestWeight w(Form(CodeType::kUint4, ScalarType::kFp16, 64, true), 64, 128, 4);
  w.zeros.assign(w.zeros.size(), 8);
  WeightView view = w.View();
  EXPECT_FALSE(LayoutInt4Tiles({&view, 1}).zeros);
  EXPECT_EQ(LayoutInt4Tiles({&view, 1}).tile_bytes(), 1024 + 2 * 32);
  w.zeros.back() = 7;
  view = w.View();
  EXPECT_TRUE(LayoutInt4Tiles({&view, 1}).zeros);
  EXPECT_EQ(LayoutInt4Tiles({&view, 1}).tile_bytes(), 1024 + 2 * 48);
}

TEST(Int4Tiles, RefusalsNameWhatIsWrong) {
  const auto problem = [](const WeightForm& form, int64_t n, int64_t k) {
    const TestWeight w(form, n, k, 5);
    const WeightView view = w.View();
    return Int4TileProblem({&view, 1});
  };
  const ScalarType fp16 = ScalarType::kFp16;
  EXPECT_EQ(problem(Form(CodeType::kInt4, fp16, 32, false), 64, 96),
            "K is 96, expected a multiple of 64");
  EXPECT_EQ(problem(Form(CodeType::kInt4, fp16, 32, false), 40, 64),
            "N is 40, expected a multiple of 64");
  EXPECT_EQ(problem(Form(CodeType::kInt4, fp16, 96, false), 64, 192),
            "group is 96, expected 32, 64, a multiple of 128 or one group per row");
  EXPECT_EQ(problem(Form(CodeType::kInt4, ScalarType::kFp32, 32, false), 64, 64),
            "scales are fp32, expected fp16 or bf16");
  EXPECT_NE(problem({WeightScheme::kW8A8, CodeType::kInt8, fp16, 0, false}, 64, 64), "");

  TestWeight w(Form(CodeType::kUint4, fp16, 64, true), 64, 64, 6);
  w.zeros[3] = 64;
  const WeightView view = w.View();
  EXPECT_EQ(Int4TileProblem({&view, 1}),
            "zero point 64 is more than 63, the largest of the CUDA kernels");
  EXPECT_EQ(Int4TileProblem({}), "no matrix");
}

}  // namespace
}  // namespace baton::kernels
