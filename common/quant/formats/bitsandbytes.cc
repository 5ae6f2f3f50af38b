#include "common/quant/formats/bitsandbytes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr size_t kMaxStateBytes = 4096;
constexpr int64_t kMaxBlock = 1 << 16;
constexpr int64_t kCodes = 16;         // of a 4-bit table
constexpr int64_t kNestedCodes = 256;  // of the table of quantized magnitudes
constexpr float kInt8Max = 127;
constexpr std::string_view kStatePrefix = "weight.quant_state.bitsandbytes__";
constexpr std::array<std::string_view, 2> kTypes = {"nf4", "fp4"};

std::vector<float> ReadFloats(const TensorView& view) {
  std::vector<float> values(view.bytes.size() / static_cast<size_t>(SizeOf(view.type)));
  ToFloat(view, 0, static_cast<int64_t>(values.size()), values.data());
  return values;
}

// What the JSON of "weight.quant_state…" says.
struct State {
  std::string type;
  int64_t block = 0;
  int64_t nested_block = 0;  // 0: magnitudes are stored as they are
  float nested_offset = 0;
};

absl::StatusOr<State> ParseState(const ModuleTensors& tensors, const std::string& suffix,
                                 std::string_view type, int64_t n, int64_t k) {
  const TensorView& view = *tensors.Find(suffix);
  const auto size = static_cast<int64_t>(view.bytes.size());
  if (view.bytes.size() > kMaxStateBytes) {
    return tensors.Wrong(suffix,
                         fmt::format("{} bytes, expected at most {}", size, kMaxStateBytes));
  }
  BATON_RETURN_IF_ERROR(tensors.Require(suffix, {DataType::kU8}, {size}).status());
  const std::string_view text(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
  const std::string where = fmt::format("tensor '{}': ", tensors.NameOf(suffix));
  const auto object = ParseJsonObject(text, where, {kMaxStateBytes, 4});
  if (!object.ok()) return FailedPrecondition("{}", MessageOf(object.status()));
  const JsonFields fields(*object, where);
  State state;
  BATON_ASSIGN_OR_RETURN(state.type, fields.String("quant_type"));
  if (state.type != type) return tensors.Wrong(suffix, "quant_type: expected that of the name");
  BATON_ASSIGN_OR_RETURN(state.block, fields.Int("blocksize", 2, kMaxBlock));
  const nlohmann::json* shape = fields.Find("shape");
  if (shape == nullptr || *shape != nlohmann::json::array({n, k})) {
    return tensors.Wrong(suffix,
                         fmt::format("shape: {}, expected [{}, {}]",
                                     shape == nullptr ? "missing" : ShortJson(*shape), n, k));
  }
  if (fields.Has("nested_blocksize")) {
    BATON_ASSIGN_OR_RETURN(state.nested_block, fields.Int("nested_blocksize", 1, kMaxBlock));
    BATON_ASSIGN_OR_RETURN(const double offset, fields.Number("nested_offset", -1e30, 1e30));
    state.nested_offset = static_cast<float>(offset);
    BATON_ASSIGN_OR_RETURN(const std::string kind,
                           fields.String("nested_dtype", std::string("float32")));
    if (kind != "float32") {
      return Unimplemented("{}nested_dtype: '{}', expected float32", where, kind);
    }
  }
  return state;
}

// The magnitude of each block.
absl::StatusOr<std::vector<float>> ReadMagnitudes(const ModuleTensors& tensors, const State& state,
                                                  int64_t blocks) {
  constexpr std::string_view kName = "weight.absmax";
  if (state.nested_block == 0) {
    BATON_ASSIGN_OR_RETURN(const TensorView* view,
                           tensors.Require(kName, {DataType::kF32}, {blocks}));
    return ReadFloats(*view);
  }
  const int64_t outer = (blocks + state.nested_block - 1) / state.nested_block;
  BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                         tensors.Require(kName, {DataType::kU8}, {blocks}));
  BATON_ASSIGN_OR_RETURN(const TensorView* scale_view,
                         tensors.Require("weight.nested_absmax", {DataType::kF32}, {outer}));
  BATON_ASSIGN_OR_RETURN(
      const TensorView* table_view,
      tensors.Require("weight.nested_quant_map", {DataType::kF32}, {kNestedCodes}));
  const std::vector<float> scales = ReadFloats(*scale_view);
  const std::vector<float> table = ReadFloats(*table_view);
  std::vector<float> magnitudes(static_cast<size_t>(blocks));
  for (size_t i = 0; i < magnitudes.size(); ++i) {
    const float product = table[static_cast<size_t>(codes->bytes[i])] *
                          scales[i / static_cast<size_t>(state.nested_block)];
    magnitudes[i] = product + state.nested_offset;
  }
  return magnitudes;
}

// Two codes in each byte, the first in the high half. The bytes may be stored as a column of any
// type.
absl::StatusOr<const TensorView*> RequireCodes(const ModuleTensors& tensors, int64_t bytes) {
  DataType type = DataType::kU8;
  if (const TensorView* found = tensors.Find("weight")) {
    for (const DataType storage : {DataType::kF16, DataType::kBf16, DataType::kF32}) {
      if (found->type == storage && bytes % SizeOf(storage) == 0) type = storage;
    }
  }
  return tensors.Require("weight", {type}, {bytes / SizeOf(type), 1});
}

absl::StatusOr<QuantizedWeight> ReadTable(const ModuleTensors& tensors, const State& state,
                                          int64_t n, int64_t k, const RunParts& run) {
  const int64_t count = n * k;
  const int64_t blocks = (count + state.block - 1) / state.block;
  BATON_ASSIGN_OR_RETURN(const TensorView* codes, RequireCodes(tensors, (count + 1) / 2));
  BATON_ASSIGN_OR_RETURN(const std::vector<float> magnitudes,
                         ReadMagnitudes(tensors, state, blocks));
  BATON_ASSIGN_OR_RETURN(const TensorView* table_view,
                         tensors.Require("weight.quant_map", {DataType::kF32}, {kCodes}));
  const std::vector<float> table = ReadFloats(*table_view);
  ExpandedWeight weight{.n = n, .k = k};
  weight.values.resize(static_cast<size_t>(count));
  run([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(blocks, part, parts);
    for (int64_t block = share.begin; block < share.end; ++block) {
      const float magnitude = magnitudes[static_cast<size_t>(block)];
      const int64_t end = std::min(count, (block + 1) * state.block);
      for (int64_t i = block * state.block; i < end; ++i) {
        const auto byte = static_cast<uint8_t>(codes->bytes[static_cast<size_t>(i / 2)]);
        const int code = i % 2 == 0 ? byte >> 4 : byte & 15;
        weight.values[static_cast<size_t>(i)] = table[static_cast<size_t>(code)] * magnitude;
      }
    }
  });
  const bool nested = state.nested_block > 0;
  weight.description = fmt::format("{}, blocks of {}{}", state.type, state.block,
                                   nested ? ", quantized magnitudes" : "");
  const double per_block = nested ? 8 + 32.0 / static_cast<double>(state.nested_block) : 32;
  weight.bits_per_weight = 4 + per_block / static_cast<double>(state.block);
  return QuantizedWeight{.tensor = {}, .activations = {}, .expanded = std::move(weight)};
}

// weight int8 [N, K], SCB [N] the largest magnitude of each row; weight_format 0 where given.
absl::StatusOr<QuantizedWeight> ReadInt8(const ModuleTensors& tensors, int64_t n, int64_t k,
                                         const RunParts& run) {
  BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                         tensors.Require("weight", {DataType::kI8}, {n, k}));
  BATON_ASSIGN_OR_RETURN(const TensorView* rows, tensors.Require("SCB", {DataType::kF32}, {n}));
  if (const TensorView* layout = tensors.Find("weight_format")) {
    BATON_RETURN_IF_ERROR(
        tensors
            .Require("weight_format", {DataType::kU8},
                     layout->shape.empty() ? std::vector<int64_t>{} : std::vector<int64_t>{1})
            .status());
    if (layout->bytes[0] != std::byte{0}) {
      return Unimplemented("tensor '{}': {}, expected 0 (rows)", tensors.NameOf("weight_format"),
                           static_cast<int>(layout->bytes[0]));
    }
  }
  QuantizedWeight weight;
  QuantizedTensor& t = weight.tensor;
  t = {.n = n, .k = k, .block_columns = k, .scale_type = kernels::ScalarType::kFp32};
  CopyCodes(*codes, run, t);
  std::vector<float> scales = ReadFloats(*rows);
  for (float& scale : scales) scale /= kInt8Max;
  const auto raw = std::as_bytes(std::span(scales));
  t.scales.assign(raw.begin(), raw.end());
  return weight;
}

class BitsAndBytesReader final : public FormatReader {
 public:
  explicit BitsAndBytesReader(bool int8_inputs) : int8_inputs_(int8_inputs) {}

  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    for (const std::string_view type : kTypes) {
      const std::string suffix = std::string(kStatePrefix) + std::string(type);
      if (tensors.Find(suffix) == nullptr) continue;
      BATON_ASSIGN_OR_RETURN(const State state, ParseState(tensors, suffix, type, n, k));
      return ReadTable(tensors, state, n, k, run);
    }
    if (tensors.Find("weight.absmax") != nullptr) {
      return tensors.Wrong(std::string(kStatePrefix) + "nf4", "missing, or that of fp4");
    }
    const TensorView* codes = tensors.Find("weight");
    if (tensors.Find("SCB") == nullptr && (codes == nullptr || codes->type != DataType::kI8)) {
      return std::nullopt;
    }
    return ReadInt8(tensors, n, k, run);
  }

  std::vector<std::string> Notes() const override {
    if (!int8_inputs_) return {};
    return {
        "LLM.int8(): inputs stay floating, those above llm_int8_threshold and all others: the "
        "decomposition would only round more"};
  }

 private:
  bool int8_inputs_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeBitsAndBytesReader(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const bool four, config.Bool("load_in_4bit", false));
  BATON_ASSIGN_OR_RETURN(const bool eight, config.Bool("load_in_8bit", !four));
  if (four == eight) {
    return InvalidArgument("{}load_in_4bit: {}, expected one of load_in_4bit and load_in_8bit",
                           config.prefix(), four);
  }
  BATON_ASSIGN_OR_RETURN(const std::string type,
                         config.String("bnb_4bit_quant_type", std::string("fp4")));
  if (four && std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
    return Unimplemented("{}bnb_4bit_quant_type: '{}', expected nf4 or fp4", config.prefix(), type);
  }
  BATON_RETURN_IF_ERROR(config.Number("llm_int8_threshold", 0, 1e30, 6.0).status());
  return std::make_unique<BitsAndBytesReader>(eight);
}

}  // namespace baton
