#include <cmath>

#include "kernels/norm/norm.h"

namespace baton::kernels {
namespace {

void NormGroup(const RmsNormParams& params, const float* x, float* out) {
  double sum = 0.0;
  for (int i = 0; i < params.dim; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::sqrt(sum / params.dim + params.eps);
  for (int i = 0; i < params.dim; ++i) {
    out[i] = static_cast<float>(x[i] * scale * params.weight[i]);
  }
}

}  // namespace

void RmsNormReference(const RmsNormParams& params) {
  for (int row = 0; row < params.rows; ++row) {
    for (int group = 0; group < params.groups; ++group) {
      const int64_t offset = static_cast<int64_t>(group) * params.dim;
      const float* x = params.x + row * params.x_stride + offset;
      if (params.residual != nullptr) {
        float* residual = params.residual + row * params.residual_stride + offset;
        for (int i = 0; i < params.dim; ++i) residual[i] += x[i];
        x = residual;
      }
      if (params.out != nullptr)
        NormGroup(params, x, params.out + row * params.out_stride + offset);
    }
  }
}

}  // namespace baton::kernels
