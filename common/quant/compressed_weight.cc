#include "common/quant/compressed_weight.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "common/base/status.h"
#include "common/quant/bit_packing.h"

namespace baton {
namespace {

using kernels::ScalarType;
using Part = CompressedWeight::Part;
using nlohmann::ordered_json;

enum class Strategy { kTensor, kChannel, kGroup, kBlock };

// A group of up to this many columns is called a group also where it is the whole row: the narrow
// layers of a model then share the scheme of its other layers.
constexpr int64_t kUsualGroup = 128;

Strategy StrategyOf(const QuantizedTensor& w) {
  if (w.groups() == 1 && w.block_rows == 1) {
    return w.bits < 8 && w.block_columns <= kUsualGroup ? Strategy::kGroup : Strategy::kChannel;
  }
  if (w.block_rows == 1) return Strategy::kGroup;
  return w.groups() == 1 && w.row_blocks() == 1 ? Strategy::kTensor : Strategy::kBlock;
}

// What is taken from unsigned codes and zero points to have them signed, as the layout wants.
int SignedOffset(const QuantizedTensor& w) {
  return w.code == TensorCode::kUnsigned ? 1 << (w.bits - 1) : 0;
}

bool HasZeros(const QuantizedTensor& w) {
  return w.code != TensorCode::kE4m3 && (!w.zeros.empty() || w.code == TensorCode::kUnsigned);
}

int SignedZero(const QuantizedTensor& w, int64_t i) {
  return (w.zeros.empty() ? 0 : w.zeros[static_cast<size_t>(i)]) - SignedOffset(w);
}

absl::Status CheckExpressible(const QuantizedTensor& w, const ActivationScheme& activations,
                              std::string_view module) {
  BATON_RETURN_IF_ERROR(CheckQuantizedTensor(w, module));
  const auto cannot = [&](std::string_view what) {
    return Unimplemented("'{}': {}: compressed-tensors has no form for it", module, what);
  };
  if (!w.float_zeros.empty()) return cannot("zero points that are no integers");
  if (!w.column_group.empty()) return cannot("groups of scattered columns (act-order)");
  const Strategy strategy = StrategyOf(w);
  if (strategy == Strategy::kGroup && w.k % w.block_columns != 0) {
    return cannot(fmt::format("a group of {} that does not divide K = {}", w.block_columns, w.k));
  }
  if (HasZeros(w) && strategy != Strategy::kGroup && strategy != Strategy::kChannel) {
    return cannot("zero points per tensor or block");
  }
  if (activations.magnitude_limit != 0) return cannot("a limit on activation scales");
  if (w.code == TensorCode::kE4m3) {
    if (activations.type == ActivationType::kInt8) {
      return cannot("fp8 weights with INT8 activations");
    }
    return absl::OkStatus();
  }
  const int half = 1 << (w.bits - 1);
  for (int64_t i = 0; i < static_cast<int64_t>(w.zeros.size()); ++i) {
    const int zero = SignedZero(w, i);
    if (zero < -half || zero >= half) {
      return cannot(fmt::format("zero point {}, beyond codes of {} bits", zero, w.bits));
    }
  }
  return absl::OkStatus();
}

std::string FormatOf(const QuantizedTensor& w, ActivationType activations) {
  if (w.code == TensorCode::kE4m3) {
    return activations == ActivationType::kFp8 ? "float-quantized" : "naive-quantized";
  }
  return activations == ActivationType::kInt8 ? "int-quantized" : "pack-quantized";
}

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

// Codes as they stand in a byte of the file, offset to signed.
uint8_t SignedByte(const QuantizedTensor& w, int64_t i) {
  return static_cast<uint8_t>(w.codes[static_cast<size_t>(i)] - SignedOffset(w));
}

Part PackedCodes(const QuantizedTensor& w) {
  const int64_t width = PackedWords(w.k, w.bits);
  const int half = 1 << (w.bits - 1);
  std::vector<uint32_t> words(static_cast<size_t>(w.n * width));
  for (int64_t row = 0; row < w.n; ++row) {
    uint32_t* out = words.data() + row * width;
    for (int64_t k = 0; k < w.k; ++k) {
      const int value = static_cast<int8_t>(SignedByte(w, row * w.k + k));
      PutCode(out, 1, w.bits, k, static_cast<uint8_t>(value + half));
    }
  }
  return {"weight_packed", DataType::kI32, {w.n, width}, Bytes(words)};
}

// Zero points are packed along N.
Part PackedZeros(const QuantizedTensor& w) {
  const int64_t groups = w.groups();
  const int64_t height = PackedWords(w.n, w.bits);
  const int half = 1 << (w.bits - 1);
  std::vector<uint32_t> words(static_cast<size_t>(height * groups));
  for (int64_t row = 0; row < w.n; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      PutCode(words.data() + g, groups, w.bits, row,
              static_cast<uint8_t>(SignedZero(w, row * groups + g) + half));
    }
  }
  return {"weight_zero_point", DataType::kI32, {height, groups}, Bytes(words)};
}

Part PlainCodes(const QuantizedTensor& w) {
  std::vector<std::byte> bytes(w.codes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte{SignedByte(w, static_cast<int64_t>(i))};
  }
  const DataType type = w.code == TensorCode::kE4m3 ? DataType::kF8E4m3 : DataType::kI8;
  return {"weight", type, {w.n, w.k}, std::move(bytes)};
}

Part PlainZeros(const QuantizedTensor& w) {
  std::vector<int8_t> zeros(static_cast<size_t>(w.n * w.groups()));
  for (size_t i = 0; i < zeros.size(); ++i) {
    zeros[i] = static_cast<int8_t>(SignedZero(w, static_cast<int64_t>(i)));
  }
  return {"weight_zero_point", DataType::kI8, {w.n, w.groups()}, Bytes(zeros)};
}

Part Scales(const QuantizedTensor& w) {
  const DataType type = w.scale_type == ScalarType::kFp32   ? DataType::kF32
                        : w.scale_type == ScalarType::kFp16 ? DataType::kF16
                                                            : DataType::kBf16;
  std::vector<int64_t> shape = {w.row_blocks(), w.groups()};
  if (StrategyOf(w) == Strategy::kTensor) shape = {1};
  return {"weight_scale", type, std::move(shape), w.scales};
}

ordered_json WeightArguments(const QuantizedTensor& w) {
  ordered_json arguments = {{"num_bits", w.code == TensorCode::kE4m3 ? 8 : w.bits},
                            {"type", w.code == TensorCode::kE4m3 ? "float" : "int"},
                            {"symmetric", !HasZeros(w)},
                            {"group_size", nullptr},
                            {"strategy", "channel"},
                            {"dynamic", false}};
  switch (StrategyOf(w)) {
    case Strategy::kChannel:
      break;
    case Strategy::kTensor:
      arguments["strategy"] = "tensor";
      break;
    case Strategy::kGroup:
      arguments["strategy"] = "group";
      arguments["group_size"] = w.block_columns;
      break;
    case Strategy::kBlock:
      arguments["strategy"] = "block";
      arguments["block_structure"] = {w.block_rows, w.block_columns};
      break;
  }
  return arguments;
}

ordered_json ActivationArguments(const ActivationScheme& activations) {
  if (activations.type == ActivationType::kFloat) return nullptr;
  const bool dynamic = !activations.static_scale.has_value();
  return {{"num_bits", 8},
          {"type", activations.type == ActivationType::kFp8 ? "float" : "int"},
          {"symmetric", true},
          {"group_size", nullptr},
          {"strategy", dynamic ? "token" : "tensor"},
          {"dynamic", dynamic}};
}

}  // namespace

absl::StatusOr<CompressedWeight> CompressWeight(const QuantizedTensor& weight,
                                                const ActivationScheme& activations,
                                                std::string_view module) {
  BATON_RETURN_IF_ERROR(CheckExpressible(weight, activations, module));
  CompressedWeight compressed;
  compressed.format = FormatOf(weight, activations.type);
  if (compressed.format == "pack-quantized") {
    compressed.parts.push_back(PackedCodes(weight));
    compressed.parts.push_back(
        {"weight_shape", DataType::kI64, {2}, Bytes(std::vector<int64_t>{weight.n, weight.k})});
    if (HasZeros(weight)) compressed.parts.push_back(PackedZeros(weight));
  } else {
    compressed.parts.push_back(PlainCodes(weight));
    if (HasZeros(weight)) compressed.parts.push_back(PlainZeros(weight));
  }
  compressed.parts.push_back(Scales(weight));
  if (activations.static_scale) {
    compressed.parts.push_back(
        {"input_scale", DataType::kF32, {1}, Bytes(std::vector<float>{*activations.static_scale})});
  }
  const ordered_json scheme = {{"weights", WeightArguments(weight)},
                               {"input_activations", ActivationArguments(activations)},
                               {"output_activations", nullptr}};
  compressed.scheme = scheme.dump();
  return compressed;
}

std::string QuantizationConfigJson(const std::vector<ModuleScheme>& modules,
                                   const std::vector<std::string>& ignored) {
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> groups;
  for (const ModuleScheme& m : modules) groups[{m.format, m.scheme}].push_back(m.module);
  bool one_format = true;
  for (const auto& [key, names] : groups) {
    one_format = one_format && key.first == groups.begin()->first.first;
  }
  ordered_json config = {{"quant_method", "compressed-tensors"},
                         {"format", groups.empty() ? "dense"
                                    : one_format   ? groups.begin()->first.first
                                                   : "mixed-precision"},
                         {"quantization_status", "compressed"},
                         {"global_compression_ratio", nullptr},
                         {"kv_cache_scheme", nullptr},
                         {"ignore", ignored},
                         {"config_groups", ordered_json::object()}};
  int index = 0;
  for (const auto& [key, names] : groups) {
    ordered_json group = ordered_json::parse(key.second);
    // A class name would also match fused layers whose parts another group names.
    group["targets"] = groups.size() == 1 ? std::vector<std::string>{"Linear"} : names;
    if (!one_format) group["format"] = key.first;
    config["config_groups"][fmt::format("group_{}", index++)] = std::move(group);
  }
  return config.dump();
}

}  // namespace baton
