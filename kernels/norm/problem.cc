#include "kernels/cuda/row_problem.h"
#include "kernels/norm/cuda.h"

namespace baton::kernels::cuda {

const char* RmsNormProblem(const RmsNormParams& params) {
  return RowProblem(params.rows, params.dim, params.x_stride, kMaxQuantizedRow);
}

}  // namespace baton::kernels::cuda
