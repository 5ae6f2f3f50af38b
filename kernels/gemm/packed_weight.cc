#include "kernels/gemm/packed_weight.h"

#include "kernels/numeric/require.h"

namespace baton::kernels {

const char* Name(WeightScheme scheme) {
  switch (scheme) {
    case WeightScheme::kFp32:
      return "fp32";
    case WeightScheme::kFp16:
      return "fp16";
    case WeightScheme::kBf16:
      return "bf16";
    case WeightScheme::kW8A8:
      return "w8a8";
    case WeightScheme::kW4A16:
      return "w4a16";
    case WeightScheme::kW4A8:
      return "w4a8";
    case WeightScheme::kW8A8Fp8:
      return "w8a8-fp8";
  }
  return "unknown";
}

bool TakesQuantizedActivations(WeightScheme scheme) {
  return scheme == WeightScheme::kW8A8 || scheme == WeightScheme::kW4A8 ||
         scheme == WeightScheme::kW8A8Fp8;
}

ActivationCode ActivationCodeOf(WeightScheme scheme) {
  BATON_KERNELS_REQUIRE(TakesQuantizedActivations(scheme));
  return scheme == WeightScheme::kW8A8Fp8 ? ActivationCode::kE4m3 : ActivationCode::kInt8;
}

const uint8_t* PackedWeight::scales(int64_t p) const {
  return buffer_.data() + scales_offset_ +
         static_cast<size_t>(p * groups_ * kPanel) * BytesOf(scale_type_);
}

const uint8_t* PackedWeight::zeros(int64_t p) const {
  return has_zeros() ? buffer_.data() + zeros_offset_ + p * groups_ * kPanel : nullptr;
}

}  // namespace baton::kernels
