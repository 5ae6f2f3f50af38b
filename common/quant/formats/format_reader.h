#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/quant/activation_scheme.h"
#include "common/quant/formats/expanded_weight.h"
#include "common/quant/formats/module_tensors.h"
#include "common/quant/formats/quant_format.h"
#include "common/quant/quantized_tensor.h"

namespace baton {

// One module's weight as its checkpoint holds it.
struct QuantizedWeight {
  QuantizedTensor tensor;  // unused where there is `expanded`
  ActivationScheme activations;
  std::optional<ExpandedWeight> expanded;

  int64_t n() const { return expanded ? expanded->n : tensor.n; }
  int64_t k() const { return expanded ? expanded->k : tensor.k; }
};

// Reads one checkpoint format to the internal form, exactly. Immutable; any thread.
class FormatReader {
 public:
  virtual ~FormatReader() = default;

  // The weight [n, k] of `module`; nothing when the format leaves the module unquantized (its
  // ".weight" is then a floating tensor). FAILED_PRECONDITION names a tensor that is missing, of
  // another type or shape, or holds numbers out of range; UNIMPLEMENTED a variant.
  // `run` splits the work of unpacking.
  virtual absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors,
                                                              int64_t n, int64_t k,
                                                              const RunParts& run) const = 0;

  // What the configuration asks for beyond the weights and is met in another manner, in words.
  virtual std::vector<std::string> Notes() const { return {}; }
};

// The reader of a quantization_config, whose fields are checked.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeFormatReader(const JsonFields& config);

}  // namespace baton
