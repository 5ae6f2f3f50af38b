#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/architecture.h"
#include "common/model/checkpoint.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// One matrix of a checkpoint: as it stands in the file, or read to the internal form.
struct LoadedWeight {
  const TensorView* dense = nullptr;  // F32, F16 or BF16, borrowed from the checkpoint; or
  std::optional<QuantizedWeight> quantized;
};

// The matrices of any checkpoint, quantized or not. Borrows the checkpoint; any thread may read.
class WeightSource {
 public:
  // Checks the quantization_config. UNIMPLEMENTED or INVALID_ARGUMENT names the field.
  static absl::StatusOr<WeightSource> Open(const Checkpoint& checkpoint);

  // A matrix (linear layer or embedding) of ExpectedWeights. FAILED_PRECONDITION names what is
  // wrong with a tensor; a bias that the architecture does not have must be zero.
  absl::StatusOr<LoadedWeight> Read(WeightKind kind, int layer, const RunParts& run) const;

  // What the checkpoint asks for and is met in another manner, in words.
  std::vector<std::string> Notes() const;

 private:
  explicit WeightSource(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}
  absl::Status CheckNoBias(const ModuleTensors& tensors) const;

  const Checkpoint* checkpoint_;
  std::unique_ptr<FormatReader> reader_;  // null: unquantized
};

// In words: "int4 asymmetric, groups of 128, act-order; inputs int8 per token".
std::string Describe(const QuantizedWeight& weight);
// Bits per weight of codes, scales and zero points.
double BitsPerWeight(const QuantizedTensor& tensor);
double BitsPerWeight(const QuantizedWeight& weight);

}  // namespace baton
