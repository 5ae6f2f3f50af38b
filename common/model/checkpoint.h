#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/architecture.h"
#include "common/model/digest.h"
#include "common/model/mapped_file.h"
#include "common/model/model_config.h"
#include "common/model/safetensors.h"

namespace baton {

// Tensors by name.
using TensorMap = std::map<std::string, TensorView, std::less<>>;

struct CheckpointOptions {
  // Quantized folders too: their matrices (linear layers and embeddings) are then unchecked and may
  // be absent under their usual names; WeightSource of common/quant/formats reads them. Otherwise
  // such a folder is refused.
  bool accept_quantized = false;
};

// A model (a Hugging Face folder, or a GGUF file or a folder with one, see model_files.h): its
// configuration and views of its mapped weights, under their Hugging Face names. After Open every
// tensor that the architecture needs (of a quantized folder: norms and biases) is there, with the
// expected shape and a floating type (F32, F16 or BF16). Immutable and safe to read from several
// threads; views live as long as the object.
class Checkpoint {
 public:
  // Reads config.json and model.safetensors, or the shards of model.safetensors.index.json; or the
  // GGUF file, whose query and key rows are put in the Hugging Face order.
  // NOT_FOUND for absent files; INVALID_ARGUMENT, UNIMPLEMENTED or FAILED_PRECONDITION for what is
  // in them, naming the tensor or field, its value and the expectation.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& folder,
                                         const CheckpointOptions& options = {});

  const ModelConfig& config() const { return config_; }
  bool quantized() const { return !config_.origin.quantization.empty(); }
  // The tensor must be one of ExpectedWeights(config()), and no matrix of a quantized folder.
  const TensorView& Get(WeightKind kind, int layer = -1) const;
  // All tensors of the files.
  const TensorMap& tensors() const { return tensors_; }
  // Tensors of the files that the architecture does not name.
  const std::vector<std::string>& unused() const { return unused_; }

  // Identity of these weights: the same for the same configuration and tensors however they are
  // sharded. Reads all the weights once.
  Digest ComputeDigest() const;
  // Identity of the model whose cache these weights compute: the recorded digest of the model they
  // were made from, else their own (`own`, of ComputeDigest) where they are not quantized, joined
  // with the basis of K and V where that differs. Nothing for a quantized folder without a record.
  std::optional<Digest> SourceDigest(const Digest& own) const;

 private:
  Checkpoint() = default;
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status AddFolder(const std::filesystem::path& folder);
  absl::Status AddGguf(const std::filesystem::path& path);
  absl::Status AddShards(const std::filesystem::path& folder, std::string_view index_json);
  absl::Status CheckTensors();

  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::vector<MappedFile> mapped_;             // of GGUF
  std::vector<std::vector<std::byte>> owned_;  // tensors that differ from the file's bytes
  TensorMap tensors_;
  std::vector<std::string> unused_;
};

// Digest of tokenizer.json, or of what a GGUF file says instead: two workers whose digests are
// equal agree on token ids.
absl::StatusOr<Digest> TokenizerDigest(const std::filesystem::path& model);

}  // namespace baton
