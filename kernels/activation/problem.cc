#include "kernels/activation/cuda.h"
#include "kernels/cuda/row_problem.h"

namespace baton::kernels::cuda {

const char* SwiGluProblem(const SwiGluParams& params) {
  if ((params.out != nullptr) == (params.fp8.codes != nullptr)) {
    return "out, fp8: expected exactly one";
  }
  return RowProblem(params.rows, params.dim, params.in_stride, kMaxQuantizedRow);
}

}  // namespace baton::kernels::cuda
