// The end of CheckpointWriter: what is missing, the files' names, the configuration.
#include <array>
#include <nlohmann/json.hpp>
#include <system_error>

#include "common/base/status.h"
#include "common/model/architecture.h"
#include "common/model/json.h"
#include "common/model/mapped_file.h"
#include "common/model/safetensors_writer.h"
#include "common/quant/checkpoint_writer.h"
#include "common/quant/compressed_weight.h"

namespace baton {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kMaxConfigBytes = 1 << 20;

// What belongs to a model besides its weights and config.json.
constexpr std::array kCompanions = {"generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "tokenizer.model",
                                    "vocab.json",
                                    "merges.txt",
                                    "chat_template.json",
                                    "chat_template.jinja",
                                    "LICENSE",
                                    "LICENSE.txt"};

std::string ModuleOf(std::string_view weight) {
  constexpr std::string_view kSuffix = ".weight";
  return std::string(weight.substr(0, weight.size() - kSuffix.size()));
}

absl::Status FileError(const fs::path& path, std::string_view action, const std::error_code& why) {
  return FailedPrecondition("{}: {}: {}", path.string(), action, why.message());
}

}  // namespace

absl::Status CheckpointWriter::Finish() {
  BATON_RETURN_IF_ERROR(CopyMissing());
  BATON_RETURN_IF_ERROR(EndFile());
  BATON_RETURN_IF_ERROR(NameFiles());
  for (const char* name : kCompanions) {
    std::error_code error;
    if (!fs::exists(base_folder_ / name, error)) continue;
    fs::copy_file(base_folder_ / name, out_ / name, fs::copy_options::overwrite_existing, error);
    if (error) return FileError(out_ / name, "cannot be copied", error);
  }
  // config.json last: the folder holds a model when it is there.
  BATON_RETURN_IF_ERROR(WriteConfig());
  std::error_code error;
  fs::remove(out_ / kProgressFile, error);
  return error ? FileError(out_ / kProgressFile, "cannot be removed", error) : absl::OkStatus();
}

absl::Status CheckpointWriter::CopyMissing() {
  for (const WeightSpec& spec : ExpectedWeights(base_.config())) {
    if (Has(spec.name) || added_.contains(spec.name)) continue;
    BATON_RETURN_IF_ERROR(AddTensor(spec.name, base_.Get(spec.kind, spec.layer)));
  }
  return absl::OkStatus();
}

absl::Status CheckpointWriter::NameFiles() const {
  ordered_json index = {{"metadata", ordered_json::object()},
                        {"weight_map", ordered_json::object()}};
  uint64_t total = 0;
  for (size_t i = 0; i < files_.size(); ++i) {
    const std::string name =
        files_.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files_.size());
    BATON_ASSIGN_OR_RETURN(const SafetensorsFile file,
                           SafetensorsFile::Open(out_ / files_[i].name));
    for (const NamedTensor& tensor : file.tensors()) {
      index["weight_map"][tensor.name] = name;
      total += tensor.view.bytes.size();
    }
    std::error_code error;
    fs::rename(out_ / files_[i].name, out_ / name, error);
    if (error) return FileError(out_ / name, "cannot be named so", error);
  }
  index["metadata"]["total_size"] = total;
  if (files_.size() == 1) return absl::OkStatus();
  return WriteTextFile(out_ / "model.safetensors.index.json", index.dump(2));
}

absl::Status CheckpointWriter::WriteConfig() const {
  BATON_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(base_folder_ / "config.json", kMaxConfigBytes));
  BATON_RETURN_IF_ERROR(ParseJsonObject(text, "config.json", {kMaxConfigBytes, 16}).status());
  ordered_json config = ordered_json::parse(text);
  std::vector<ModuleScheme> modules;
  for (const auto& [module, record] : modules_) {
    modules.push_back({module, record.format, record.scheme});
  }
  std::vector<std::string> ignored;
  for (const WeightSpec& spec : ExpectedWeights(base_.config())) {
    const std::string module = ModuleOf(spec.name);
    if (IsLinearLayer(spec.kind) && !modules_.contains(module)) ignored.push_back(module);
  }
  // A tied output head has no tensor of its own but is a linear layer to other programs.
  if (base_.config().tied_embeddings) ignored.push_back("lm_head");
  config["quantization_config"] = ordered_json::parse(QuantizationConfigJson(modules, ignored));
  config["baton"] = {{"source_digest", base_digest_.ToString()}, {"recipe", options_.recipe}};
  if (!options_.kv_basis.empty()) config["baton"]["kv_basis"] = options_.kv_basis;
  return WriteTextFile(out_ / "config.json", config.dump(2) + "\n");
}

}  // namespace baton
