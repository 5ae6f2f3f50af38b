#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "kernels/gemm/fp8_kernels.h"
#include "kernels/gemm/tensor_map.h"

namespace baton::kernels::cuda {
namespace {

// Boxes of `rows` rows × 128 of K of a dense e4m3 matrix.
cudaError_t MapRows(const uint8_t* data, int rows_in_all, int k, int rows, CUtensorMap* map) {
  return EncodeTensorMap({.data = data,
                          .element_bytes = 1,
                          .size = {k, rows_in_all, 1},
                          .stride_bytes = {k, static_cast<int64_t>(k) * rows_in_all},
                          .box = {128, rows, 1},
                          .swizzle = true},
                         map);
}

}  // namespace

const char* GemmFp8SmallProblem(const GemmFp8Params& p, int sm_count) {
  if (const char* problem = GemmFp8Problem(p); problem != nullptr) return problem;
  if (p.m > kFp8SmallMaxTokens) return "m: expected at most 128";
  return sm_count < 1 ? "sm_count: expected the number of multiprocessors" : nullptr;
}

cudaError_t GemmFp8SmallWith(const GemmFp8Params& p, int sm_count, const GemmChoice& choice) {
  GemmPlan plan;
  if (GemmFp8SmallProblem(p, sm_count) != nullptr ||
      PlanGemm(choice, sm_count, {.m = p.m, .n = p.n, .k = p.k}, &plan) != nullptr) {
    return cudaErrorInvalidValue;
  }
  const Fp8Launchers& kernel = Fp8Kernels(choice.variant);
  CUtensorMap weights, tokens;
  cudaError_t error = MapRows(p.w, p.n, p.k, kernel.variant.rows(), &weights);
  if (error == cudaSuccess) error = MapRows(p.a, p.m, p.k, kernel.variant.tokens, &tokens);
  if (error != cudaSuccess) return error;
  const Fp8SmallParams params = {.token_scales = p.a_scale,
                                 .weight_scales = p.w_scale,
                                 .bias = static_cast<const uint8_t*>(p.bias),
                                 .out = static_cast<uint8_t*>(p.out),
                                 .ldo = p.ldo,
                                 .m = p.m,
                                 .n = p.n,
                                 .k_units = (p.k + 127) / 128,
                                 .row_blocks = plan.row_blocks,
                                 .split = choice.split,
                                 .stages = plan.stages};
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(plan.blocks)),
                             .shared_bytes = static_cast<size_t>(plan.shared_bytes),
                             .cluster = plan.cluster};
  return kernel.launch[static_cast<int>(p.type)][static_cast<int>(p.mode)](shape, p.stream, weights,
                                                                           tokens, params);
}

cudaError_t GemmFp8Small(const GemmFp8Params& p, int sm_count) {
  if (GemmFp8SmallProblem(p, sm_count) != nullptr) return cudaErrorInvalidValue;
  return GemmFp8SmallWith(p, sm_count, ChooseFp8(sm_count, {.m = p.m, .n = p.n, .k = p.k}));
}

cudaError_t GemmFp8(CublasLt& lt, const GemmFp8Params& p, int sm_count) {
  return p.m <= kFp8SmallMaxTokens ? GemmFp8Small(p, sm_count) : GemmFp8Large(lt, p);
}

}  // namespace baton::kernels::cuda
