#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "kernels/gemm/permute.h"
#include "kernels/gemm/tensor_map.h"
#include "kernels/gemm/w4a16_kernels.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kTileK = Int4TileLayout::kTileK;
constexpr int kTileRows = Int4TileLayout::kTileRows;
constexpr int64_t kMaxDimension = 1 << 24;

constexpr int64_t kKeptBytes = 16 << 20;  // activations that may stay in the L2 beside weights

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

GemmSize SizeOf(const GemmW4A16Params& p) {
  return {p.m, static_cast<int>(p.layout.n), static_cast<int>(p.layout.k), p.layout.tile_bytes()};
}

// Boxes of `rows` row tiles × `units` tiles of K.
cudaError_t MapWeights(const GemmW4A16Params& p, int rows, int units, CUtensorMap* map) {
  const int tile = p.layout.tile_bytes();
  return EncodeTensorMap({.data = p.tiles,
                          .element_bytes = 8,
                          .size = {tile / 8, p.layout.k_tiles(), p.layout.row_tiles()},
                          .stride_bytes = {tile, tile * p.layout.k_tiles()},
                          .box = {tile / 8, units, rows}},
                         map);
}

// Boxes of `tokens` tokens × `halves` times 64 of K.
cudaError_t MapActivations(const GemmW4A16Params& p, const void* a, int64_t lda, int tokens,
                           int halves, CUtensorMap* map) {
  return EncodeTensorMap({.data = a,
                          .element_bytes = 2,
                          .size = {64, p.m, p.layout.k / 64},
                          .stride_bytes = {lda * 2, 128},
                          .box = {64, tokens, halves},
                          .swizzle = true},
                         map);
}

// What both kernels' parameters have.
template <typename Params>
Params Common(const GemmW4A16Params& p, const GemmChoice& choice, const GemmPlan& plan) {
  Params out;
  out.bias = static_cast<const uint8_t*>(p.bias);
  out.out = static_cast<uint8_t*>(p.out);
  out.ldo = p.ldo;
  out.m = p.m;
  out.n = static_cast<int>(p.layout.n);
  out.k_tiles = static_cast<int>(p.layout.k_tiles());
  out.tile_bytes = p.layout.tile_bytes();
  out.scale_groups = p.layout.scale_groups();
  out.scale_bf16 = p.layout.scale_type == ScalarType::kBf16;
  out.split = choice.split;
  out.stages = plan.stages;
  out.stage_bytes = plan.stage_bytes;
  return out;
}

LaunchShape ShapeOf(const GemmPlan& plan) {
  return {.grid = dim3(static_cast<unsigned>(plan.blocks)),
          .shared_bytes = static_cast<size_t>(plan.shared_bytes),
          .cluster = plan.cluster};
}

cudaError_t LaunchSmall(const GemmW4A16Params& p, const void* a, int64_t lda,
                        const GemmChoice& choice, const GemmPlan& plan) {
  const SmallLaunchers& kernel = SmallKernels(choice.variant);
  CUtensorMap weights, activations;
  cudaError_t error = MapWeights(p, kernel.variant.tiles, kernel.variant.warps, &weights);
  if (error == cudaSuccess) {
    error = MapActivations(p, a, lda, p.m, 2 * kernel.variant.warps, &activations);
  }
  if (error != cudaSuccess) return error;
  auto params = Common<W4A16SmallParams>(p, choice, plan);
  params.passes = plan.passes;
  return kernel.launch[static_cast<int>(p.type)][p.layout.zeros](ShapeOf(plan), p.stream, weights,
                                                                 activations, params);
}

cudaError_t LaunchLarge(const GemmW4A16Params& p, const void* a, int64_t lda,
                        const GemmChoice& choice, const GemmPlan& plan) {
  const LargeLaunchers& kernel = LargeKernels(choice.variant);
  const LargeVariant& v = kernel.variant;
  CUtensorMap weights, activations;
  cudaError_t error = MapWeights(p, v.rows() / kTileRows, 1, &weights);
  if (error == cudaSuccess) {
    error = MapActivations(p, a, lda, v.tokens, 2, &activations);
  }
  if (error != cudaSuccess) return error;
  auto params = Common<W4A16LargeParams>(p, choice, plan);
  params.row_blocks = plan.row_blocks;
  params.token_blocks = plan.token_blocks;
  params.token_group = plan.token_group;
  params.keep_activations = p.m * p.layout.k * 2 <= kKeptBytes;
  return kernel.launch[static_cast<int>(p.type)][p.layout.zeros](ShapeOf(plan), p.stream, weights,
                                                                 activations, params);
}

}  // namespace

const char* GemmW4A16Problem(const GemmW4A16Params& p) {
  const Int4TileLayout& w = p.layout;
  if (p.m < 1 || p.m > kMaxDimension) return "m: expected 1 to 2^24";
  if (w.n < 64 || w.n % 64 != 0 || w.n > kMaxDimension)
    return "n: expected a positive multiple of 64";
  if (w.k < 64 || w.k % 64 != 0 || w.k > kMaxDimension)
    return "k: expected a positive multiple of 64";
  if (w.group != 32 && w.group != 64 && w.group % kTileK != 0 && w.group < w.k) {
    return "group: expected 32, 64, a multiple of 128, or k";
  }
  if (w.scale_type == ScalarType::kFp32) return "scales: expected fp16 or bf16";
  if (p.lda < w.k || p.lda % 8 != 0) return "lda: expected a multiple of 8, at least k";
  if (p.ldo < w.n || p.ldo % 8 != 0) return "ldo: expected a multiple of 8, at least n";
  if (p.sm_count < 1) return "sm_count: expected the number of multiprocessors";
  if (!Aligned(p.a) || !Aligned(p.tiles) || !Aligned(p.bias) || !Aligned(p.out) ||
      !Aligned(p.workspace)) {
    return "pointers: expected multiples of 16 bytes";
  }
  if (p.a == nullptr || p.tiles == nullptr || p.out == nullptr)
    return "a, tiles, out: expected device memory";
  if (p.workspace_bytes < GemmW4A16Workspace(p))
    return "workspace: expected GemmW4A16Workspace bytes";
  return nullptr;
}

size_t GemmW4A16Workspace(const GemmW4A16Params& p) {
  return p.permutation == nullptr ? 0 : static_cast<size_t>(p.m) * p.layout.k * BytesOf(p.type);
}

cudaError_t GemmW4A16With(const GemmW4A16Params& p, const GemmChoice& choice) {
  if (GemmW4A16Problem(p) != nullptr) return cudaErrorInvalidValue;
  GemmPlan plan;
  if (PlanGemm(choice, p.sm_count, SizeOf(p), &plan) != nullptr) return cudaErrorInvalidValue;
  const void* a = p.a;
  int64_t lda = p.lda;
  if (p.permutation != nullptr) {
    const cudaError_t error = PermuteColumns({.rows = p.m,
                                              .columns = static_cast<int>(p.layout.k),
                                              .in = p.a,
                                              .in_stride = p.lda,
                                              .permutation = p.permutation,
                                              .out = p.workspace,
                                              .stream = p.stream});
    if (error != cudaSuccess) return error;
    a = p.workspace;
    lda = p.layout.k;
  }
  return choice.kernel == GemmKernel::kW4A16Small ? LaunchSmall(p, a, lda, choice, plan)
                                                  : LaunchLarge(p, a, lda, choice, plan);
}

cudaError_t GemmW4A16(const GemmW4A16Params& p) {
  if (GemmW4A16Problem(p) != nullptr) return cudaErrorInvalidValue;
  return GemmW4A16With(p, ChooseW4A16(p.sm_count, SizeOf(p)));
}

}  // namespace baton::kernels::cuda
