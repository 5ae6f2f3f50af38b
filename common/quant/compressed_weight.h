#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/safetensors.h"
#include "common/quant/activation_scheme.h"
#include "common/quant/quantized_tensor.h"

namespace baton {

// One linear layer in the compressed-tensors layout: its tensors and how the configuration
// describes it.
struct CompressedWeight {
  struct Part {
    std::string suffix;  // "weight_packed", "weight_scale" …
    DataType type = DataType::kI32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::vector<Part> parts;
  std::string format;  // "pack-quantized" …
  std::string scheme;  // JSON text of a config group without its targets
};

// Converts exactly. UNIMPLEMENTED, with `module` in front, for what the layout cannot say.
absl::StatusOr<CompressedWeight> CompressWeight(const QuantizedTensor& weight,
                                                const ActivationScheme& activations,
                                                std::string_view module);

// quantization_config of a model: JSON text. `modules`: each quantized linear layer with its format
// and scheme; `ignored`: the linear layers that are not.
struct ModuleScheme {
  std::string module;
  std::string format;
  std::string scheme;
};
std::string QuantizationConfigJson(const std::vector<ModuleScheme>& modules,
                                   const std::vector<std::string>& ignored);

}  // namespace baton
