#include "common/quant/checkpoint_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/model/architecture.h"
#include "common/model/json.h"
#include "common/model/mapped_file.h"
#include "common/model/safetensors_writer.h"
#include "common/quant/compressed_weight.h"

namespace baton {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kMaxProgressBytes = 100'000'000;
absl::Status FileError(const fs::path& path, std::string_view action, const std::error_code& why) {
  return FailedPrecondition("{}: {}: {}", path.string(), action, why.message());
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointWriter::Create(
    const Checkpoint& base, const fs::path& base_folder, const fs::path& out,
    CheckpointWriterOptions options) {
  std::unique_ptr<CheckpointWriter> writer(
      new CheckpointWriter(base, base_folder, out, std::move(options)));
  BATON_RETURN_IF_ERROR(writer->Start());
  return writer;
}

absl::Status CheckpointWriter::Start() {
  std::error_code error;
  fs::create_directories(out_, error);
  if (error) return FileError(out_, "cannot be created", error);
  if (fs::exists(out_ / "config.json", error)) {
    return AlreadyExists("{}: holds a model, expected an empty folder", out_.string());
  }
  base_digest_ = base_.ComputeDigest();
  if (!fs::exists(out_ / kProgressFile, error)) return WriteProgress();
  if (!options_.resume) {
    return AlreadyExists("{}: holds an interrupted run, expected an empty folder or to resume it",
                         out_.string());
  }
  return ReadProgress();
}

absl::Status CheckpointWriter::WriteProgress() const {
  ordered_json progress = {{"recipe", options_.recipe},
                           {"kv_basis", options_.kv_basis},
                           {"base", base_digest_.ToString()},
                           {"files", ordered_json::array()},
                           {"modules", ordered_json::object()}};
  for (const FileRecord& file : files_) {
    progress["files"].push_back({{"name", file.name},
                                 {"bytes", file.bytes},
                                 {"digest", file.digest.ToString()},
                                 {"keys", file.keys}});
  }
  for (const auto& [module, record] : modules_) {
    progress["modules"][module] = {{"format", record.format}, {"scheme", record.scheme}};
  }
  return WriteTextFile(out_ / kProgressFile, progress.dump());
}

absl::Status CheckpointWriter::ReadProgress() {
  BATON_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(out_ / kProgressFile, kMaxProgressBytes));
  BATON_ASSIGN_OR_RETURN(const nlohmann::json progress,
                         ParseJsonObject(text, kProgressFile, {kMaxProgressBytes, 8}));
  const std::pair<const char*, std::string> wanted[] = {{"recipe", options_.recipe},
                                                        {"kv_basis", options_.kv_basis},
                                                        {"base", base_digest_.ToString()}};
  for (const auto& [field, value] : wanted) {
    if (progress.value(field, std::string()) != value) {
      return FailedPrecondition("{}: the interrupted run had {} {}, expected '{}'", out_.string(),
                                field, ShortJson(progress.value(field, nlohmann::json())), value);
    }
  }
  try {
    for (const nlohmann::json& entry : progress.at("files")) {
      FileRecord file{.name = entry.at("name"), .bytes = entry.at("bytes")};
      file.keys = entry.at("keys").get<std::vector<std::string>>();
      const auto mapped = MappedFile::Open(out_ / fs::path(file.name).filename());
      if (!mapped.ok() || mapped->bytes().size() != file.bytes) continue;
      file.digest = DigestOf(mapped->bytes());
      if (file.digest.ToString() != entry.at("digest").get<std::string>()) continue;
      for (const std::string& key : file.keys) finished_[key] = files_.size();
      files_.push_back(std::move(file));
    }
    for (const auto& [module, record] : progress.at("modules").items()) {
      if (finished_.contains(WeightTensorOf(module))) {
        modules_[module] = {record.at("format"), record.at("scheme")};
      }
    }
  } catch (const nlohmann::json::exception& wrong) {
    return InvalidArgument("{}: {}", kProgressFile, wrong.what());
  }
  return WriteProgress();
}

fs::path CheckpointWriter::FileOf(std::string_view tensor) const {
  const auto it = finished_.find(std::string(tensor));
  BATON_CHECK(it != finished_.end());
  return out_ / files_[it->second].name;
}

absl::Status CheckpointWriter::AddTensor(std::string_view name, const TensorView& tensor) {
  const std::vector<WeightSpec> specs = ExpectedWeights(base_.config());
  const auto spec =
      std::find_if(specs.begin(), specs.end(), [&](const WeightSpec& s) { return s.name == name; });
  if (spec == specs.end()) {
    return InvalidArgument("tensor '{}': not one of the base model", name);
  }
  if (tensor.shape != spec->shape) {
    return InvalidArgument("tensor '{}': shape [{}], expected [{}]", name,
                           fmt::join(tensor.shape, ", "), fmt::join(spec->shape, ", "));
  }
  if (Has(name) || !added_.insert(std::string(name)).second) {
    return InvalidArgument("tensor '{}': added twice", name);
  }
  Add({std::string(name), tensor}, {});
  return EndFullFile();
}

absl::Status CheckpointWriter::AddWeight(std::string_view module, const QuantizedTensor& weight,
                                         const ActivationScheme& activations) {
  const std::string key = WeightTensorOf(module);
  const std::vector<WeightSpec> specs = ExpectedWeights(base_.config());
  const auto spec = std::find_if(specs.begin(), specs.end(), [&](const WeightSpec& s) {
    return s.name == key && IsLinearLayer(s.kind);
  });
  if (spec == specs.end()) {
    return InvalidArgument("module '{}': no linear layer of the base model", module);
  }
  if (spec->shape != std::vector<int64_t>{weight.n, weight.k}) {
    return InvalidArgument("module '{}': shape [{}, {}], expected [{}]", module, weight.n, weight.k,
                           fmt::join(spec->shape, ", "));
  }
  if (Has(key) || !added_.insert(key).second) {
    return InvalidArgument("module '{}': added twice", module);
  }
  BATON_ASSIGN_OR_RETURN(CompressedWeight compressed, CompressWeight(weight, activations, module));
  modules_[std::string(module)] = {compressed.format, compressed.scheme};
  for (CompressedWeight::Part& part : compressed.parts) {
    NamedTensor tensor{fmt::format("{}.{}", module, part.suffix), {part.type, part.shape, {}}};
    Add(std::move(tensor), std::move(part.bytes));
  }
  return EndFullFile();
}

void CheckpointWriter::Add(NamedTensor tensor, std::vector<std::byte> owned) {
  if (tensor.view.bytes.empty()) {
    owned_.push_back(std::move(owned));
    tensor.view.bytes = owned_.back();
  }
  pending_bytes_ += tensor.view.bytes.size();
  pending_.push_back(std::move(tensor));
}

absl::Status CheckpointWriter::EndFullFile() {
  return pending_bytes_ < options_.max_file_bytes ? absl::OkStatus() : EndFile();
}

absl::Status CheckpointWriter::EndFile() {
  if (pending_.empty()) return absl::OkStatus();
  std::set<std::string> taken;
  for (const FileRecord& other : files_) taken.insert(other.name);
  FileRecord file;
  for (size_t i = files_.size() + 1; file.name.empty() || taken.contains(file.name); ++i) {
    file.name = fmt::format("part-{:05}.safetensors", i);
  }
  BATON_RETURN_IF_ERROR(WriteSafetensors(out_ / file.name, pending_, {{"format", "pt"}}));
  {
    BATON_ASSIGN_OR_RETURN(const MappedFile written, MappedFile::Open(out_ / file.name));
    file.bytes = written.bytes().size();
    file.digest = DigestOf(written.bytes());
  }
  file.keys.assign(added_.begin(), added_.end());
  for (const std::string& key : file.keys) finished_[key] = files_.size();
  files_.push_back(std::move(file));
  pending_.clear();
  owned_.clear();
  added_.clear();
  pending_bytes_ = 0;
  return WriteProgress();
}

}  // namespace baton
