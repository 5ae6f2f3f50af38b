// The part of Checkpoint that reads GGUF files.
#include <cstring>

#include "common/base/status.h"
#include "common/model/checkpoint.h"
#include "common/model/gguf_model.h"
#include "common/model/model_files.h"

namespace baton {
namespace {

constexpr std::string_view kWeight = ".weight";

// Query and key rows back in the order of the Hugging Face matrix; biases are rows of one number.
std::vector<std::byte> Deinterleaved(const GgufTensor& tensor, int64_t head_dim) {
  const int64_t rows = tensor.shape.front();
  const auto row_bytes = static_cast<int64_t>(tensor.bytes.size()) / rows;
  std::vector<std::byte> bytes(tensor.bytes.size());
  for (int64_t row = 0; row < rows; ++row) {
    std::memcpy(bytes.data() + row * row_bytes,
                tensor.bytes.data() + InterleavedRow(row, head_dim) * row_bytes,
                static_cast<size_t>(row_bytes));
  }
  return bytes;
}

bool IsQueryOrKey(std::string_view name) {
  return name.find(".attn_q.") != std::string_view::npos ||
         name.find(".attn_k.") != std::string_view::npos;
}

}  // namespace

// Tensors under their Hugging Face names; quantized ones as bytes, "<module>.gguf.<type>"
// [rows, bytes of a row], for the reader of common/quant/formats.
absl::Status Checkpoint::AddGguf(const std::filesystem::path& path) {
  BATON_ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  BATON_ASSIGN_OR_RETURN(config_, file.Config());
  const bool interleaved = HasInterleavedHeads(file.content);
  for (const GgufTensor& tensor : file.content.tensors) {
    std::string name = HuggingFaceName(tensor.name).value_or(tensor.name);
    TensorView view{DataType::kU8, tensor.shape, tensor.bytes};
    if (const std::optional<DataType> type = DataTypeOf(*tensor.type)) {
      view.type = *type;
    } else {
      if (name.ends_with(kWeight)) name.resize(name.size() - kWeight.size());
      name += fmt::format(".gguf.{}", tensor.type->name);
      view.shape.back() = view.shape.back() / tensor.type->values * tensor.type->bytes;
    }
    if (interleaved && IsQueryOrKey(tensor.name) && tensor.shape.front() % config_.head_dim == 0) {
      owned_.push_back(Deinterleaved(tensor, config_.head_dim));
      view.bytes = owned_.back();
    }
    if (!tensors_.emplace(name, std::move(view)).second) {
      return InvalidArgument("{}: tensor '{}' is given twice as '{}'", file.name, tensor.name,
                             name);
    }
  }
  mapped_.push_back(std::move(file.file));
  return absl::OkStatus();
}

}  // namespace baton
