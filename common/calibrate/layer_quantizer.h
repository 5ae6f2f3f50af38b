#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/calibrate/float_layer.h"
#include "common/calibrate/layer_pass.h"
#include "common/calibrate/recipe.h"
#include "common/calibrate/statistics.h"

namespace baton {

// What quantizing one linear layer did.
struct LinearReport {
  Linear linear = Linear::kQ;
  double sqnr_db = 0;          // of the weights: 10 log10(‖W‖² / ‖W − Ŵ‖²)
  double held_out_error = 0;   // mean squared error of an output on held-out text …
  double relative_error = 0;   // … and relative to the mean square of the output
  double nearest_error = 0;    // as relative_error, for round-to-nearest of the same weights
  double bits_per_weight = 0;  // 16 when the layer is kept
};

struct FoldReport {
  std::string name;  // "input_layernorm"
  FoldChoice choice;
};

// One layer of a quantized checkpoint.
struct QuantizedLayer {
  FloatLayer values;  // what the checkpoint computes with, dequantized
  std::array<std::optional<CodedMatrix>, kLinears> codes;  // empty: kept in 16 bits
  std::vector<LinearReport> linears;
  std::vector<FoldReport> folds;
};

// Inputs of the unquantized layer, from which scalings are chosen.
struct LayerSamples {
  SampleGatherer qkv;
  SampleGatherer gate_up;
  SampleGatherer down;
};

// Quantizes one layer after the other of one checkpoint. Within a layer the linear layers are taken
// in the order of computation, each with the inputs that the quantized ones before it give (true
// sequential), and the residual stream goes on with the quantized layer.
class LayerQuantizer {
 public:
  // Borrows all. `stored_type`: of norms, biases and kept matrices in the checkpoint. `hidden`: the
  // embedded calibration tokens; sequences from `first_held_out` on only judge.
  LayerQuantizer(const Recipe& recipe, kernels::ScalarType stored_type, LayerPass& pass,
                 Matrix hidden, int64_t first_held_out, const Parallel& parallel);

  // `layer`: the unquantized weights. INVALID_ARGUMENT names a matrix with a value that is not
  // finite; FAILED_PRECONDITION one whose inputs give no usable Hessian.
  absl::StatusOr<QuantizedLayer> Quantize(FloatLayer layer, const LayerSamples& samples,
                                          const LayerPlan& plan);
  // Passes the residual stream through a layer that was quantized before.
  void Skip(const FloatLayer& values);

 private:
  void Fold(const LayerSamples& samples, QuantizedLayer& out) const;
  absl::Status Round(const std::vector<Linear>& linears, const GramGatherer& grams,
                     const LayerPlan& plan, QuantizedLayer& out) const;
  absl::StatusOr<CodedMatrix> Code(const CodeSpec& spec, const Matrix& weight,
                                   const Matrix& gram) const;
  LinearReport Report(Linear linear, const Matrix& before, const CodedMatrix& coded,
                      const GramGatherer& grams) const;

  const Recipe& recipe_;
  const kernels::ScalarType stored_type_;
  LayerPass& pass_;
  Matrix hidden_;  // residual stream of the quantized model
  const int64_t first_held_out_;
  const Parallel& parallel_;
};

}  // namespace baton
