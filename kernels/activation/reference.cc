#include <cmath>

#include "kernels/activation/activation.h"

namespace baton::kernels {

void SwiGluReference(const SwiGluParams& params) {
  for (int row = 0; row < params.rows; ++row) {
    for (int i = 0; i < params.dim; ++i) {
      const double gate = params.gate[row * params.gate_stride + i];
      const double up = params.up[row * params.up_stride + i];
      params.out[row * params.out_stride + i] =
          static_cast<float>(gate / (1.0 + std::exp(-gate)) * up);
    }
  }
}

}  // namespace baton::kernels
