#include "common/calibrate/layer_file.h"

#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "common/base/status.h"
#include "common/quant/bit_packing.h"
#include "common/quant/round_to_nearest.h"
#include "common/quant/weight_format.h"
#include "kernels/numeric/formats.h"

namespace baton {
namespace {

using kernels::ScalarType;

std::vector<std::byte> ToBytes(std::span<const float> values, DataType type) {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(SizeOf(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DataType::kF32) {
      std::memcpy(bytes.data() + i * 4, &values[i], 4);
      continue;
    }
    const uint16_t code = type == DataType::kF16 ? kernels::Fp16FromFloat(values[i])
                                                 : kernels::Bf16FromFloat(values[i]);
    std::memcpy(bytes.data() + i * 2, &code, 2);
  }
  return bytes;
}

DataType TypeOf(ScalarType type) {
  switch (type) {
    case ScalarType::kFp32:
      return DataType::kF32;
    case ScalarType::kFp16:
      return DataType::kF16;
    case ScalarType::kBf16:
      return DataType::kBf16;
  }
  return DataType::kF32;
}

// The vectors of a layer that the configuration has, by kind.
std::vector<std::pair<WeightKind, std::vector<float>*>> VectorsOf(FloatLayer& layer) {
  std::vector<std::pair<WeightKind, std::vector<float>*>> vectors = {
      {WeightKind::kInputNorm, &layer.input_norm},
      {WeightKind::kPostAttentionNorm, &layer.post_attention_norm}};
  if (!layer.q_norm.empty()) {
    vectors.push_back({WeightKind::kQNorm, &layer.q_norm});
    vectors.push_back({WeightKind::kKNorm, &layer.k_norm});
  }
  for (const Linear linear : kAllLinears) {
    if (layer[linear].bias.empty()) continue;
    vectors.push_back({*BiasKindOf(linear), &layer[linear].bias});
  }
  return vectors;
}

// A layer's file with its tensors by name.
class LayerTensors {
 public:
  explicit LayerTensors(SafetensorsFile file) : file_(std::move(file)) {
    for (const NamedTensor& tensor : file_.tensors()) tensors_[tensor.name] = &tensor.view;
  }

  absl::StatusOr<const TensorView*> Find(const std::string& name,
                                         const std::vector<int64_t>& shape) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return DataLoss("finished layer: no tensor '{}'", name);
    if (found->second->shape != shape) {
      return DataLoss("finished layer: tensor '{}' has another shape than its plan", name);
    }
    return found->second;
  }

  absl::StatusOr<std::vector<float>> Floats(const std::string& name,
                                            const std::vector<int64_t>& shape) const {
    BATON_ASSIGN_OR_RETURN(const TensorView* view, Find(name, shape));
    if (view->type != DataType::kF32 && view->type != DataType::kF16 &&
        view->type != DataType::kBf16) {
      return DataLoss("finished layer: tensor '{}' is {}, expected a floating type", name,
                      NameOf(view->type));
    }
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    std::vector<float> values(static_cast<size_t>(count));
    ToFloat(*view, 0, count, values.data());
    return values;
  }

 private:
  SafetensorsFile file_;
  std::map<std::string, const TensorView*> tensors_;
};

// Codes and zero points as signed numbers, both offset alike, so their differences are right.
absl::Status ReadPacked(const LayerTensors& tensors, const std::string& module, CodedMatrix& out) {
  const int bits = out.spec.bits;
  const int64_t width = PackedWords(out.cols, bits);
  BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                         tensors.Find(module + ".weight_packed", {out.rows, width}));
  // Stored with 2^(bits−1) added to the signed code: exactly the unsigned code.
  const int offset = out.spec.symmetric ? 1 << (bits - 1) : 0;
  for (int64_t i = 0; i < out.rows; ++i) {
    const PackedStream row(codes->bytes.data() + i * width * 4, 1, bits);
    for (int64_t j = 0; j < out.cols; ++j) {
      out.codes[static_cast<size_t>(i * out.cols + j)] = static_cast<uint8_t>(row.Code(j) - offset);
    }
  }
  if (out.zeros.empty()) return absl::OkStatus();
  const int64_t height = PackedWords(out.rows, bits);
  BATON_ASSIGN_OR_RETURN(const TensorView* zeros,
                         tensors.Find(module + ".weight_zero_point", {height, out.groups()}));
  for (int64_t g = 0; g < out.groups(); ++g) {
    const PackedStream column(zeros->bytes.data() + g * 4, out.groups(), bits);
    for (int64_t i = 0; i < out.rows; ++i) {
      out.zeros[static_cast<size_t>(i * out.groups() + g)] = column.Code(i);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPlain(const LayerTensors& tensors, const std::string& module, CodedMatrix& out) {
  BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                         tensors.Find(module + ".weight", {out.rows, out.cols}));
  if (SizeOf(codes->type) != 1) return DataLoss("finished layer: '{}' is not coded", module);
  const int offset = out.spec.symmetric ? 0 : 1 << (out.spec.bits - 1);
  for (size_t i = 0; i < out.codes.size(); ++i) {
    out.codes[i] = static_cast<uint8_t>(std::to_integer<int>(codes->bytes[i]) + offset);
  }
  if (out.zeros.empty()) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(const TensorView* zeros,
                         tensors.Find(module + ".weight_zero_point", {out.rows, out.groups()}));
  for (size_t i = 0; i < out.zeros.size(); ++i) {
    out.zeros[i] = static_cast<int8_t>(std::to_integer<int>(zeros->bytes[i])) + offset;
  }
  return absl::OkStatus();
}

absl::StatusOr<Matrix> ReadCoded(const LayerTensors& tensors, const std::string& module,
                                 const LinearPlan& plan, int64_t rows, int64_t cols) {
  CodeSpec spec = plan.spec;
  if (spec.group != 0) spec.group = GroupFor(cols, static_cast<int>(spec.group));
  CodedMatrix coded = MakeCodedMatrix(rows, cols, spec);
  if (spec.kind == CodeKind::kInt && !plan.activations) {
    BATON_RETURN_IF_ERROR(ReadPacked(tensors, module, coded));
  } else {
    BATON_RETURN_IF_ERROR(ReadPlain(tensors, module, coded));
  }
  BATON_ASSIGN_OR_RETURN(coded.scales,
                         tensors.Floats(module + ".weight_scale", {rows, coded.groups()}));
  return coded.Values();
}

}  // namespace

QuantizedTensor ToTensor(const CodedMatrix& coded) {
  QuantizedTensor tensor;
  tensor.n = coded.rows;
  tensor.k = coded.cols;
  tensor.bits = coded.spec.kind == CodeKind::kFp8 ? 8 : coded.spec.bits;
  tensor.code = coded.spec.kind == CodeKind::kFp8 ? TensorCode::kE4m3
                : coded.spec.symmetric            ? TensorCode::kSigned
                                                  : TensorCode::kUnsigned;
  tensor.codes.assign(coded.codes.begin(), coded.codes.end());
  tensor.block_rows = coded.block_rows;
  tensor.block_columns = coded.group;
  tensor.scale_type = coded.spec.scale_type;
  tensor.scales = ToBytes(coded.scales, TypeOf(coded.spec.scale_type));
  tensor.zeros = coded.zeros;
  return tensor;
}

absl::Status WriteLayer(const QuantizedLayer& layer, int index, const LayerPlan& plan,
                        const Checkpoint& base, CheckpointWriter& writer) {
  FloatLayer values = layer.values;
  std::vector<std::vector<std::byte>> owned;  // until the file ends
  const auto add = [&](WeightKind kind, const std::vector<float>& numbers) {
    const TensorView& stored = base.Get(kind, index);
    owned.push_back(ToBytes(numbers, stored.type));
    return writer.AddTensor(WeightName(kind, index), {stored.type, stored.shape, owned.back()});
  };
  for (const auto& [kind, vector] : VectorsOf(values)) {
    BATON_RETURN_IF_ERROR(add(kind, *vector));
  }
  for (const Linear linear : kAllLinears) {
    const std::optional<CodedMatrix>& coded = layer.codes[static_cast<size_t>(linear)];
    if (!coded) {
      BATON_RETURN_IF_ERROR(add(KindOf(linear), values[linear].weight.values));
      continue;
    }
    ActivationScheme activations;
    if (const auto kind = plan[static_cast<size_t>(linear)].activations) {
      activations.type = *kind == CodeKind::kFp8 ? ActivationType::kFp8 : ActivationType::kInt8;
    }
    BATON_RETURN_IF_ERROR(writer.AddWeight(ModuleOf(linear, index), ToTensor(*coded), activations));
  }
  return writer.EndFile();
}

bool HasLayer(int index, const CheckpointWriter& writer) {
  for (const Linear linear : kAllLinears) {
    if (!writer.Has(WeightName(KindOf(linear), index))) return false;
  }
  return writer.Has(WeightName(WeightKind::kInputNorm, index));
}

absl::StatusOr<FloatLayer> ReadLayer(int index, const LayerPlan& plan, const Checkpoint& base,
                                     const CheckpointWriter& writer) {
  FloatLayer layer = LoadFloatLayer(base, index);  // for the shapes; every value is replaced
  BATON_ASSIGN_OR_RETURN(
      SafetensorsFile file,
      SafetensorsFile::Open(writer.FileOf(WeightName(WeightKind::kInputNorm, index))));
  const LayerTensors tensors(std::move(file));
  for (const auto& [kind, vector] : VectorsOf(layer)) {
    BATON_ASSIGN_OR_RETURN(
        *vector, tensors.Floats(WeightName(kind, index), {static_cast<int64_t>(vector->size())}));
  }
  for (const Linear linear : kAllLinears) {
    const LinearPlan& wanted = plan[static_cast<size_t>(linear)];
    Matrix& weight = layer[linear].weight;
    if (wanted.keep) {
      BATON_ASSIGN_OR_RETURN(weight.values, tensors.Floats(WeightName(KindOf(linear), index),
                                                           {weight.rows, weight.cols}));
      continue;
    }
    BATON_ASSIGN_OR_RETURN(
        weight, ReadCoded(tensors, ModuleOf(linear, index), wanted, weight.rows, weight.cols));
    layer[linear].activations = wanted.activations;
  }
  return layer;
}

}  // namespace baton
