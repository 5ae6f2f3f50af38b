// Which kernel serves a product of few bits, and how it is laid out on a device: pure functions of
// the multiprocessors and the shape, tested without a GPU. The choices themselves are the tables of
// config_tables.cc, which tests/bench/kernels_gpu/tune_gemm prints on a device.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/gemm/kernel_shapes.h"

namespace baton::kernels::cuda {

// --- The instantiated kernels (w4a16_kernels.h, fp8_kernels.h), in this order --------------------

inline constexpr SmallVariant kSmallVariants[] = {{8, 1, 8},  {8, 2, 8},  {8, 2, 16}, {8, 7, 4},
                                                  {16, 2, 4}, {16, 2, 8}, {16, 3, 8}, {16, 7, 4}};
inline constexpr LargeVariant kLargeVariants[] = {
    {.tokens = 32, .groups = 1, .parts = 2},   {.tokens = 32, .groups = 4},
    {.tokens = 64, .groups = 1, .parts = 2},   {.tokens = 64, .groups = 2},
    {.tokens = 64, .groups = 2, .blocks = 2},  {.tokens = 128, .groups = 1},
    {.tokens = 128, .groups = 1, .parts = 2},  {.tokens = 128, .groups = 2},
    {.tokens = 128, .groups = 2, .blocks = 2}, {.tokens = 256, .groups = 2}};
inline constexpr Fp8Variant kFp8Variants[] = {{8, 1},  {8, 2},  {16, 1},  {16, 2}, {32, 1},
                                              {64, 1}, {64, 2}, {128, 1}, {128, 2}};

// --- Choices -------------------------------------------------------------------------------------

enum class GemmKernel : uint8_t { kW4A16Small, kW4A16Large, kFp8Small };

struct GemmChoice {
  GemmKernel kernel = GemmKernel::kW4A16Small;
  int variant = 0;     // index into the kernel's variants
  int split = 1;       // blocks of a cluster that share K: 1, 2, 4 or 8
  int shared_kib = 0;  // shared memory a block may take; 112 lets two share a multiprocessor
};

// A product: N output features, K input features, M tokens.
struct GemmSize {
  int m = 0;
  int n = 0;
  int k = 0;
  int tile_bytes = 0;  // Int4TileLayout::tile_bytes(); W4A16 only
};

// The table's row for the nearest N, K and the next larger M, made to fit the size.
GemmChoice ChooseW4A16(int sm_count, const GemmSize& size);
GemmChoice ChooseFp8(int sm_count, const GemmSize& size);
// M above which FP8 products go to cuBLASLt.
inline constexpr int kFp8SmallMaxTokens = 128;

// One row: a measured optimum for up to max_m tokens.
struct GemmTableRow {
  int n = 0;
  int k = 0;
  int max_m = 0;
  GemmChoice choice;
};
std::span<const GemmTableRow> W4A16Table();
std::span<const GemmTableRow> Fp8Table();

// --- Layout on the device ------------------------------------------------------------------------

struct GemmPlan {
  int blocks = 0;   // of the grid
  int cluster = 1;  // blocks
  int stages = 0;
  int stage_bytes = 0;
  int shared_bytes = 0;
  int passes = 1;        // W4A16 small
  int row_blocks = 0;    // W4A16 large: of a cluster's rows; FP8
  int token_blocks = 0;  // W4A16 large
  int token_group = 1;   // W4A16 large: token blocks that are walked side by side
};

// Lays a choice out. Returns why it cannot serve the size, null if it can.
const char* PlanGemm(const GemmChoice& choice, int sm_count, const GemmSize& size, GemmPlan* plan);

}  // namespace baton::kernels::cuda
