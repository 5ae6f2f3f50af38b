#pragma once

#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "common/engine/model_runner.h"
#include "common/model/checkpoint.h"
#include "common/model/digest.h"
#include "common/model/model_config.h"
#include "common/worker/worker_options.h"

namespace baton {

struct ModelDigests {
  Digest weights;                // of the checkpoint's own tensors
  std::optional<Digest> source;  // of the model they were made from; nothing where unknown
  Digest tokenizer;
};

// Reads the weights and tokenizer.json of the checkpoint's folder once.
absl::StatusOr<ModelDigests> ReadModelDigests(const Checkpoint& checkpoint,
                                              const std::filesystem::path& folder);

// What a worker promises and demands at a hand-over. Pure.
v1::KvContract MakeKvContract(const ModelConfig& model, const KvPages& pages,
                              const WorkerOptions& options, const ModelDigests& digests);

}  // namespace baton
