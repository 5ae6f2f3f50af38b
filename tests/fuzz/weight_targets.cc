// Targets that read weights.
#include <algorithm>
#include <string>
#include <string_view>

#include "common/model/gguf_model.h"
#include "common/model/json.h"
#include "common/model/model_config.h"
#include "common/quant/formats/format_reader.h"
#include "common/quant/formats/gguf_blocks.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/fuzz/targets.h"

namespace baton::fuzz {
namespace {

// A block of a type that has one, expanded.
void Expand(const GgufTensor& tensor) {
  const ExpandBlocks expand = FindExpandBlocks(tensor.type->name);
  if (expand == nullptr) return;
  const auto blocks = static_cast<int64_t>(tensor.bytes.size()) / tensor.type->bytes;
  std::vector<float> values(static_cast<size_t>(blocks * tensor.type->values));
  expand(tensor.bytes.data(), blocks, values.data());
}

}  // namespace

void Gguf(std::span<const std::byte> input) {
  const auto content = ParseGguf(input, "fuzz");
  if (!content.ok()) return;
  for (const GgufTensor& tensor : content->tensors) {
    (void)HuggingFaceName(tensor.name);
    Expand(tensor);
  }
  if (const auto config = GgufConfigJson(*content, "fuzz"); config.ok()) {
    (void)ParseModelConfig(*config, std::nullopt);
  }
  if (const auto tokenizer = GgufTokenizerJson(*content, "fuzz"); tokenizer.ok()) {
    (void)Tokenizer::Parse(*tokenizer);
  }
}

void Formats(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const size_t end = text.find('\n');
  if (end == std::string_view::npos || end + 3 > input.size()) return;
  const auto config = ParseJsonObject(text.substr(0, end), "fuzz", JsonLimits{});
  if (!config.ok()) return;
  const auto n = std::max<int64_t>(1, static_cast<int64_t>(input[end + 1]));
  const auto k = std::max<int64_t>(1, static_cast<int64_t>(input[end + 2]));
  const auto tensors = ParseSafetensors(input.subspan(end + 3), "fuzz");
  if (!tensors.ok()) return;
  TensorMap map;
  for (const NamedTensor& tensor : *tensors) map.emplace(tensor.name, tensor.view);
  const auto reader = MakeFormatReader(JsonFields(*config, "fuzz: "));
  if (!reader.ok()) return;
  (void)(*reader)->Notes();
  const auto weight = (*reader)->Read(ModuleTensors(map, "m"), n, k, RunSerially);
  if (!weight.ok() || !weight->has_value()) return;
  const QuantizedWeight& read = **weight;
  if (read.n() != n || read.k() != k) __builtin_trap();
  if (read.expanded) {
    if (read.expanded->values.size() != static_cast<size_t>(n * k)) __builtin_trap();
    return;
  }
  if (!CheckQuantizedTensor(read.tensor, "fuzz").ok()) return;
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t i = 0; i < n; ++i) DequantizeRow(read.tensor, i, row.data());
}

}  // namespace baton::fuzz
