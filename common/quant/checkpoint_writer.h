#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/model/digest.h"
#include "common/model/safetensors.h"
#include "common/quant/activation_scheme.h"
#include "common/quant/quantized_tensor.h"

namespace baton {

struct CheckpointWriterOptions {
  // A file is closed when its tensors reach this size.
  uint64_t max_file_bytes = uint64_t{4} << 30;
  // Whatever decides the numbers (scheme, algorithm, calibration, seed): an interrupted run is only
  // continued by one with the same text.
  std::string recipe;
  // Keep the finished files of an interrupted run of the same recipe and base; otherwise `out` must
  // not hold a checkpoint yet.
  bool resume = false;
  // What was done to the basis of K and V, "" for nothing. A transformation that changes the cache
  // (K smoothing folded into the projections) must be named here with its numbers' digest: models
  // of one base whose caches differ may not serve together.
  std::string kv_basis;
};

// Writes a quantized model folder in the compressed-tensors layout, as Baton, vLLM and transformers
// load it, one tensor at a time: `pack-quantized` for integers with float activations,
// `int-quantized` for integers with INT8 activations (one byte per code, INT4 too, as its readers
// expect), `float-quantized` for fp8 with fp8 activations, `naive-quantized` for fp8 alone.
//
//   writer->AddTensor(norm); writer->AddWeight("model.layers.0.mlp.up_proj", tensor, activations);
//   writer->EndFile();   // after a layer: what is written so far survives an interruption
//   writer->Finish();
//
// Every tensor of the base that is not added is copied from it by Finish, so only what changes must
// be added. config.json gains `quantization_config` and `baton`, which other programs ignore:
// the digest of the base model, by which workers recognise one another. Tokenizer and generation
// files are copied. One thread at a time; borrows the base. After an error the object is unusable.
class CheckpointWriter {
 public:
  // `base` is the unquantized checkpoint of `base_folder`. Reads its weights once for the digest.
  // ALREADY_EXISTS when `out` holds a model (or an interrupted run, without `resume`);
  // FAILED_PRECONDITION when the interrupted run had another recipe or base.
  static absl::StatusOr<std::unique_ptr<CheckpointWriter>> Create(
      const Checkpoint& base, const std::filesystem::path& base_folder,
      const std::filesystem::path& out, CheckpointWriterOptions options);

  // Whether an earlier run's file holds this tensor ("….q_proj.weight", "….norm.weight") or, for a
  // linear layer, its quantized form. Files whose content changed since are dropped and rewritten.
  bool Has(std::string_view tensor) const { return finished_.contains(std::string(tensor)); }
  // The finished file that holds it; Has(tensor) must be true. To go on with layers that are done,
  // read it with SafetensorsFile.
  std::filesystem::path FileOf(std::string_view tensor) const;

  // An unquantized tensor (norm, bias, a linear layer kept in 16 bits) in its final values. The
  // bytes are borrowed until the file ends; the shape must be the base's.
  absl::Status AddTensor(std::string_view name, const TensorView& tensor);

  // The weight of linear layer `module` ("model.layers.0.self_attn.q_proj"; no ".weight").
  // UNIMPLEMENTED for what the layout cannot say: float zero points, zero points beyond the codes,
  // act-order groups, a group that does not divide K, fp8 weights with INT8 activations.
  absl::Status AddWeight(std::string_view module, const QuantizedTensor& weight,
                         const ActivationScheme& activations);

  // Ends the current file, if it holds anything: complete and on disk when this returns.
  absl::Status EndFile();

  // Copies what is missing, names the files, writes index, config.json and the rest.
  absl::Status Finish();

  const Digest& base_digest() const { return base_digest_; }

 private:
  struct FileRecord {
    std::string name;
    uint64_t bytes = 0;
    Digest digest;
    std::vector<std::string> keys;  // as in finished_
  };
  // A linear layer as quantization_config describes it: "format" and the group's JSON text.
  struct ModuleRecord {
    std::string format;
    std::string scheme;
    friend auto operator<=>(const ModuleRecord&, const ModuleRecord&) = default;
  };

  CheckpointWriter(const Checkpoint& base, std::filesystem::path base_folder,
                   std::filesystem::path out, CheckpointWriterOptions options)
      : base_(base),
        base_folder_(std::move(base_folder)),
        out_(std::move(out)),
        options_(std::move(options)) {}

  static constexpr const char* kProgressFile = "baton-progress.json";

  absl::Status Start();
  absl::Status ReadProgress();
  absl::Status WriteProgress() const;
  void Add(NamedTensor tensor, std::vector<std::byte> owned);
  absl::Status EndFullFile();
  absl::Status CopyMissing();
  absl::Status NameFiles() const;
  absl::Status WriteConfig() const;

  const Checkpoint& base_;
  std::filesystem::path base_folder_;
  std::filesystem::path out_;
  CheckpointWriterOptions options_;
  Digest base_digest_;

  std::vector<FileRecord> files_;                // finished
  std::map<std::string, ModuleRecord> modules_;  // quantized so far, by module
  std::map<std::string, size_t> finished_;  // tensor, or a module's ".weight" → index in files_
  std::vector<NamedTensor> pending_;        // of the current file
  std::vector<std::vector<std::byte>> owned_;  // what pending_ does not borrow from the caller
  std::set<std::string> added_;                // of the current file, as keys of finished_
  uint64_t pending_bytes_ = 0;
};

// The ".weight" name of a linear layer.
inline std::string WeightTensorOf(std::string_view module) {
  return std::string(module) + ".weight";
}

}  // namespace baton
