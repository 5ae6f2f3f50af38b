#include "kernels/gemm/element.h"
#include "kernels/gemm/packed_weight.h"

namespace baton::kernels {

void DequantizeRow(const PackedWeight& weight, int64_t row, float* out) {
  if (weight.group() == 0) {
    for (int64_t k = 0; k < weight.k(); ++k) out[k] = internal::DenseAt(weight, row, k);
    return;
  }
  if (weight.scheme() == WeightScheme::kW8A8Fp8) {
    const float scale = internal::ScaleAt(weight, row, 0);
    for (int64_t k = 0; k < weight.k(); ++k) out[k] = scale * internal::Fp8At(weight, row, k);
    return;
  }
  for (int64_t k = 0; k < weight.k(); ++k) {
    out[k] = internal::ScaleAt(weight, row, k / weight.group()) *
             static_cast<float>(internal::CodeAt(weight, row, k));
  }
}

}  // namespace baton::kernels
