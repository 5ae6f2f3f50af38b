// Kernels that keep one row in the registers of one block: which block serves which row width.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/row_shape.h"

namespace baton::kernels::cuda {

// Run::Go<T, kThreads, kVectors>(params) for the activation type and the row width.
template <typename Run, typename T, typename Params>
cudaError_t DispatchRowOf(int dim, const Params& params) {
  switch (RowShapeFor(dim)) {
    case RowShape::k128x2:
      return Run::template Go<T, 128, 2>(params);
    case RowShape::k256x2:
      return Run::template Go<T, 256, 2>(params);
    case RowShape::k512x4:
      return Run::template Go<T, 512, 4>(params);
    case RowShape::k1024x4:
      return Run::template Go<T, 1024, 4>(params);
    case RowShape::kTooWide:
      break;
  }
  return cudaErrorInvalidValue;
}

template <typename Run, typename Params>
cudaError_t DispatchRow(ActivationType type, int dim, const Params& params) {
  return type == ActivationType::kFp16 ? DispatchRowOf<Run, Fp16>(dim, params)
                                       : DispatchRowOf<Run, Bf16>(dim, params);
}

}  // namespace baton::kernels::cuda
