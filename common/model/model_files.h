#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/model/gguf.h"
#include "common/model/mapped_file.h"
#include "common/model/model_config.h"

namespace baton {

// A model is a Hugging Face folder, a GGUF file, or a folder that holds one GGUF file and no
// config.json. The path of the GGUF file; nothing for a Hugging Face folder (and what is none of
// these). FAILED_PRECONDITION for a folder of several GGUF files.
absl::StatusOr<std::optional<std::filesystem::path>> FindGguf(const std::filesystem::path& model);

// A GGUF file, mapped, and its content. Move-only; `content` borrows from `file`.
struct GgufFile {
  MappedFile file;
  GgufContent content;

  static absl::StatusOr<GgufFile> Open(const std::filesystem::path& path);
  // The configuration that the metadata means; of quantized weights, with "gguf" as its format.
  absl::StatusOr<ModelConfig> Config() const;
  std::string name;  // of the file, for errors
};

// The text of the model's tokenizer.json: the folder's own, else what the GGUF file says.
// NOT_FOUND where there is neither.
absl::StatusOr<std::string> ReadTokenizerJson(const std::filesystem::path& model);

}  // namespace baton
