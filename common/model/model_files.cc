#include "common/model/model_files.h"

#include <vector>

#include "common/base/status.h"
#include "common/model/gguf_model.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".gguf";
constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;

}  // namespace

absl::StatusOr<std::optional<fs::path>> FindGguf(const fs::path& model) {
  std::error_code error;
  if (fs::is_regular_file(model, error)) {
    if (model.extension() == kExtension) return model;
    return std::nullopt;
  }
  if (!fs::is_directory(model, error) || fs::exists(model / "config.json", error)) {
    return std::nullopt;
  }
  std::vector<fs::path> found;
  for (auto it = fs::directory_iterator(model, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->path().extension() == kExtension) found.push_back(it->path());
  }
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) {
    return FailedPrecondition("{}: {} GGUF files, expected one (name the file instead)",
                              model.string(), found.size());
  }
  return found.front();
}

absl::StatusOr<GgufFile> GgufFile::Open(const fs::path& path) {
  BATON_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const std::string name = path.filename().string();
  BATON_ASSIGN_OR_RETURN(GgufContent content, ParseGguf(file.bytes(), name));
  return GgufFile{std::move(file), std::move(content), name};
}

absl::StatusOr<ModelConfig> GgufFile::Config() const {
  BATON_ASSIGN_OR_RETURN(const std::string json, GgufConfigJson(content, name));
  absl::StatusOr<ModelConfig> config = ParseModelConfig(json, std::nullopt);
  if (!config.ok()) return Annotate(config.status(), name + " (metadata as config.json)");
  for (const GgufTensor& tensor : content.tensors) {
    if (!DataTypeOf(*tensor.type)) config->origin.quantization = R"({"quant_method":"gguf"})";
  }
  return config;
}

absl::StatusOr<std::string> ReadTokenizerJson(const fs::path& model) {
  std::error_code error;
  const fs::path own = model / "tokenizer.json";
  BATON_ASSIGN_OR_RETURN(const std::optional<fs::path> gguf, FindGguf(model));
  if (!gguf || fs::exists(own, error)) return ReadTextFile(own, kMaxTokenizerBytes);
  BATON_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(*gguf));
  return GgufTokenizerJson(file.content, file.name);
}

}  // namespace baton
