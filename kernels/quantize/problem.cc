#include "kernels/cuda/row_problem.h"
#include "kernels/quantize/cuda.h"

namespace baton::kernels::cuda {

const char* QuantizeFp8RowsProblem(const QuantizeFp8RowsParams& params) {
  return RowProblem(params.rows, params.dim, params.x_stride, kMaxQuantizedRow);
}

}  // namespace baton::kernels::cuda
