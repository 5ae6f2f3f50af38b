#include "common/model/checkpoint.h"

#include <bit>
#include <set>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/model/json.h"
#include "common/model/mapped_file.h"
#include "common/model/model_files.h"

namespace baton {
namespace {

constexpr size_t kMaxIndexBytes = 100'000'000;
constexpr size_t kMaxShards = 4096;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

bool IsWeightType(DataType type) {
  return type == DataType::kF32 || type == DataType::kF16 || type == DataType::kBf16;
}

bool IsMatrix(WeightKind kind) { return IsLinearLayer(kind) || kind == WeightKind::kEmbedding; }

// A shard is a file of the folder itself: no path may lead out of it.
bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& folder,
                                            const CheckpointOptions& options) {
  Checkpoint checkpoint;
  BATON_ASSIGN_OR_RETURN(const std::optional<std::filesystem::path> gguf, FindGguf(folder));
  if (gguf) {
    BATON_RETURN_IF_ERROR(checkpoint.AddGguf(*gguf));
  } else {
    BATON_ASSIGN_OR_RETURN(checkpoint.config_, LoadModelConfig(folder));
  }
  if (checkpoint.quantized() && !options.accept_quantized) {
    return Unimplemented("{}: quantization_config: {}, expected an unquantized checkpoint here",
                         folder.string(), checkpoint.config_.origin.quantization.substr(0, 80));
  }
  if (!gguf) BATON_RETURN_IF_ERROR(checkpoint.AddFolder(folder));
  const absl::Status status = checkpoint.CheckTensors();
  if (!status.ok()) return Annotate(status, folder.string());
  return checkpoint;
}

absl::Status Checkpoint::AddFolder(const std::filesystem::path& folder) {
  const auto index = ReadTextFile(folder / "model.safetensors.index.json", kMaxIndexBytes);
  if (index.ok()) return AddShards(folder, *index);
  if (index.status().code() != absl::StatusCode::kNotFound) return index.status();
  return AddFile(folder / "model.safetensors");
}

absl::Status Checkpoint::AddFile(const std::filesystem::path& path) {
  BATON_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  for (const NamedTensor& tensor : file.tensors()) {
    if (!tensors_.emplace(tensor.name, tensor.view).second) {
      return InvalidArgument("{}: tensor '{}' stands in two files", path.string(), tensor.name);
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Checkpoint::AddShards(const std::filesystem::path& folder,
                                   std::string_view index_json) {
  constexpr std::string_view kWhat = "model.safetensors.index.json";
  BATON_ASSIGN_OR_RETURN(const nlohmann::json index,
                         ParseJsonObject(index_json, kWhat, {kMaxIndexBytes, 4}));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return InvalidArgument("{}: weight_map {}, expected an object", kWhat,
                           map == index.end() ? "missing" : ShortJson(*map));
  }
  std::map<std::string, std::set<std::string>> names_of_file;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return InvalidArgument("{}: weight_map.{}: {}, expected the name of a file in the folder",
                             kWhat, name, ShortJson(file));
    }
    names_of_file[file.get<std::string>()].insert(name);
  }
  if (names_of_file.size() > kMaxShards) {
    return InvalidArgument("{}: {} files, expected at most {}", kWhat, names_of_file.size(),
                           kMaxShards);
  }
  for (const auto& [file, names] : names_of_file) {
    BATON_RETURN_IF_ERROR(AddFile(folder / file));
    for (const std::string& name : names) {
      const std::vector<NamedTensor>& held = files_.back().tensors();
      if (std::none_of(held.begin(), held.end(),
                       [&](const NamedTensor& t) { return t.name == name; })) {
        return InvalidArgument("{}: weight_map.{}: {} does not hold it", kWhat, name, file);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckTensors() {
  std::set<std::string_view> used;
  const std::vector<WeightSpec> specs = ExpectedWeights(config_);
  for (const WeightSpec& spec : specs) {
    if (quantized() && IsMatrix(spec.kind)) {
      used.insert(spec.name);
      continue;
    }
    const auto it = tensors_.find(spec.name);
    if (it == tensors_.end()) {
      return FailedPrecondition("tensor '{}': missing, expected shape {}", spec.name,
                                ShapeText(spec.shape));
    }
    const TensorView& view = it->second;
    if (view.shape != spec.shape) {
      return FailedPrecondition("tensor '{}': shape {}, expected {}", spec.name,
                                ShapeText(view.shape), ShapeText(spec.shape));
    }
    if (!IsWeightType(view.type)) {
      return FailedPrecondition("tensor '{}': type {}, expected F32, F16 or BF16", spec.name,
                                NameOf(view.type));
    }
    used.insert(spec.name);
  }
  for (const auto& [name, view] : tensors_) {
    if (!used.contains(name)) unused_.push_back(name);
  }
  return absl::OkStatus();
}

const TensorView& Checkpoint::Get(WeightKind kind, int layer) const {
  const auto it = tensors_.find(WeightName(kind, layer));
  BATON_CHECK(it != tensors_.end());
  return it->second;
}

std::optional<Digest> Checkpoint::SourceDigest(const Digest& own) const {
  const WeightsOrigin& origin = config_.origin;
  if (!origin.source && quantized()) return std::nullopt;
  const Digest source = origin.source.value_or(own);
  if (origin.kv_basis.empty()) return source;
  return DigestBuilder().Add(source).Add(origin.kv_basis).Finish();
}

Digest Checkpoint::ComputeDigest() const {
  const ModelConfig& c = config_;
  DigestBuilder builder;
  builder.Add(c.architecture->name);
  for (const int value : {c.vocab_size, c.hidden_size, c.intermediate_size, c.layers, c.heads,
                          c.kv_heads, c.head_dim, c.sliding_window, int{c.tied_embeddings}}) {
    builder.Add(static_cast<uint64_t>(value));
  }
  for (const double value : {static_cast<double>(c.norm_epsilon), c.rope.theta, c.rope.factor,
                             c.rope.low_freq_factor, c.rope.high_freq_factor}) {
    builder.Add(std::bit_cast<uint64_t>(value));
  }
  builder.Add(static_cast<uint64_t>(c.rope.scaling));
  builder.Add(static_cast<uint64_t>(c.rope.original_max_positions));
  if (quantized()) {
    builder.Add(c.origin.quantization);
    for (const auto& [name, view] : tensors_) {
      builder.Add(name).Add(NameOf(view.type)).Add(view.bytes);
    }
    return builder.Finish();
  }
  for (const WeightSpec& spec : ExpectedWeights(c)) {
    const TensorView& view = tensors_.find(spec.name)->second;
    builder.Add(spec.name).Add(NameOf(view.type)).Add(view.bytes);
  }
  return builder.Finish();
}

absl::StatusOr<Digest> TokenizerDigest(const std::filesystem::path& model) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadTokenizerJson(model));
  return DigestOf(std::as_bytes(std::span(text)));
}

}  // namespace baton
