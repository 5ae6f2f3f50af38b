#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/architecture.h"
#include "common/model/digest.h"
#include "common/model/model_config.h"
#include "common/model/safetensors.h"

namespace baton {

// A Hugging Face model folder: its configuration and views of its mapped weights. After Open every
// tensor that the architecture needs is there, with the expected shape and a floating type (F32,
// F16 or BF16). Immutable and safe to read from several threads; views live as long as the object.
class Checkpoint {
 public:
  // Reads config.json and model.safetensors, or the shards of model.safetensors.index.json.
  // NOT_FOUND for absent files; INVALID_ARGUMENT, UNIMPLEMENTED or FAILED_PRECONDITION for what is
  // in them, naming the tensor or field, its value and the expectation.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& folder);

  const ModelConfig& config() const { return config_; }
  // The tensor must be one of ExpectedWeights(config()).
  const TensorView& Get(WeightKind kind, int layer = -1) const;
  // Tensors of the files that the architecture does not use.
  const std::vector<std::string>& unused() const { return unused_; }

  // Identity of the model: the same for the same configuration and weights however they are
  // sharded. Reads all the weights once.
  Digest ComputeDigest() const;

 private:
  Checkpoint() = default;
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status AddShards(const std::filesystem::path& folder, std::string_view index_json);
  absl::Status CheckTensors();

  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::vector<std::string> unused_;
};

// Digest of tokenizer.json: two workers whose digests are equal agree on token ids.
absl::StatusOr<Digest> TokenizerDigest(const std::filesystem::path& folder);

}  // namespace baton
