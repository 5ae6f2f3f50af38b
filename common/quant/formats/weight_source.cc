#include "common/quant/formats/weight_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/model/json.h"

namespace baton {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";

std::vector<int64_t> MatrixShape(const ModelConfig& config, WeightKind kind, int layer) {
  for (const WeightSpec& spec : ExpectedWeights(config)) {
    if (spec.kind == kind && spec.layer == layer) return spec.shape;
  }
  BATON_CHECK(false && "a matrix of the architecture");
  return {};
}

std::string InputsText(const ActivationScheme& activations) {
  if (activations.type == ActivationType::kFloat) return "";
  return fmt::format("; inputs {} {}", activations.type == ActivationType::kInt8 ? "int8" : "fp8",
                     activations.static_scale ? "static" : "per token");
}

}  // namespace

absl::StatusOr<WeightSource> WeightSource::Open(const Checkpoint& checkpoint) {
  WeightSource source(checkpoint);
  if (!checkpoint.quantized()) return source;
  BATON_ASSIGN_OR_RETURN(const nlohmann::json object,
                         ParseJsonObject(checkpoint.config().origin.quantization,
                                         "quantization_config", JsonLimits{}));
  BATON_ASSIGN_OR_RETURN(source.reader_,
                         MakeFormatReader(JsonFields(object, "quantization_config.")));
  return source;
}

absl::StatusOr<LoadedWeight> WeightSource::Read(WeightKind kind, int layer,
                                                const RunParts& run) const {
  LoadedWeight weight;
  if (reader_ == nullptr) {
    weight.dense = &checkpoint_->Get(kind, layer);
    return weight;
  }
  const std::string name = WeightName(kind, layer);
  const std::vector<int64_t> shape = MatrixShape(checkpoint_->config(), kind, layer);
  const ModuleTensors tensors(checkpoint_->tensors(),
                              name.substr(0, name.size() - kWeightSuffix.size()));
  BATON_ASSIGN_OR_RETURN(weight.quantized, reader_->Read(tensors, shape[0], shape[1], run));
  if (weight.quantized) {
    if (!weight.quantized->expanded) {
      BATON_RETURN_IF_ERROR(CheckQuantizedTensor(weight.quantized->tensor, name, run));
    }
    BATON_RETURN_IF_ERROR(CheckNoBias(tensors));
    return weight;
  }
  BATON_ASSIGN_OR_RETURN(
      weight.dense,
      tensors.Require("weight", {DataType::kF32, DataType::kF16, DataType::kBf16}, shape));
  return weight;
}

// Some programs write a bias to every layer.
absl::Status WeightSource::CheckNoBias(const ModuleTensors& tensors) const {
  const TensorView* bias = tensors.Find("bias");
  if (bias == nullptr) return absl::OkStatus();
  const std::string name = tensors.NameOf("bias");
  for (const WeightSpec& spec : ExpectedWeights(checkpoint_->config())) {
    if (spec.name == name) return absl::OkStatus();
  }
  if (std::all_of(bias->bytes.begin(), bias->bytes.end(),
                  [](std::byte b) { return b == std::byte{0}; })) {
    return absl::OkStatus();
  }
  return tensors.Wrong("bias", "not zero, expected none in this architecture");
}

std::vector<std::string> WeightSource::Notes() const {
  return reader_ == nullptr ? std::vector<std::string>{} : reader_->Notes();
}

std::string Describe(const QuantizedWeight& weight) {
  if (weight.expanded) return weight.expanded->description + InputsText(weight.activations);
  const QuantizedTensor& t = weight.tensor;
  std::string text = "fp8";
  if (t.code != TensorCode::kE4m3) {
    const bool symmetric =
        t.code == TensorCode::kSigned && t.zeros.empty() && t.float_zeros.empty();
    text = fmt::format("int{} {}", t.bits, symmetric ? "symmetric" : "asymmetric");
  }
  if (t.block_rows > 1 && t.row_blocks() > 1) {
    text += fmt::format(", blocks of {} x {}", t.block_rows, t.block_columns);
  } else if (t.block_rows > 1) {
    text += ", one scale";
  } else {
    text +=
        t.groups() == 1 ? ", one scale per row" : fmt::format(", groups of {}", t.block_columns);
  }
  if (!t.column_group.empty()) text += ", act-order";
  return text + InputsText(weight.activations);
}

double BitsPerWeight(const QuantizedWeight& weight) {
  return weight.expanded ? weight.expanded->bits_per_weight : BitsPerWeight(weight.tensor);
}

double BitsPerWeight(const QuantizedTensor& t) {
  const auto scales = static_cast<double>(t.row_blocks() * t.groups());
  double bits = static_cast<double>(t.n * t.k) * t.bits;
  bits += scales * static_cast<double>(8 * kernels::BytesOf(t.scale_type));
  if (!t.zeros.empty()) bits += scales * t.bits;
  if (!t.float_zeros.empty()) bits += scales * 32;
  if (!t.column_group.empty()) bits += static_cast<double>(t.k) * 32;
  return bits / static_cast<double>(t.n * t.k);
}

}  // namespace baton
