#pragma once

#include <optional>

namespace baton {

enum class ActivationType { kFloat, kInt8, kFp8 };  // kFp8: e4m3fn

// How a checkpoint means the input of a linear layer to be rounded before the product.
struct ActivationScheme {
  ActivationType type = ActivationType::kFloat;
  // One scale for all inputs, found by calibration (value = scale · code); absent: a scale for each
  // token from its largest magnitude.
  std::optional<float> static_scale;
  // Largest magnitude that enters a token's scale (fbgemm's activation_scale_ub); 0 = no limit.
  float magnitude_limit = 0;

  friend bool operator==(const ActivationScheme&, const ActivationScheme&) = default;
};

}  // namespace baton
