#include "kernels/sampling/cuda.h"

namespace baton::kernels::cuda {

const char* GreedyProblem(const GreedyParams& params) {
  if (params.rows < 0) return "rows: expected at least 0";
  if (params.vocab < 1) return "vocab: expected at least 1";
  if (params.stride < params.vocab || params.stride % 8 != 0) {
    return "stride: expected a multiple of 8, at least vocab";
  }
  return nullptr;
}

}  // namespace baton::kernels::cuda
