#include <limits>

#include "kernels/cuda/row_problem.h"
#include "kernels/embedding/cuda.h"

namespace baton::kernels::cuda {

const char* EmbeddingProblem(const EmbeddingParams& params) {
  if (params.vocab < 1) return "vocab: expected at least 1";
  return RowProblem(params.rows, params.dim, params.dim, std::numeric_limits<int>::max());
}

}  // namespace baton::kernels::cuda
