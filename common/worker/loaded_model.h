#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "common/base/log.h"
#include "common/engine/model_runner.h"
#include "common/engine/request.h"
#include "common/worker/worker_options.h"

namespace baton {

// A checkpoint ready to run, and what follows from it.
struct LoadedModel {
  std::unique_ptr<ModelRunner> runner;
  v1::KvContract contract;
  RequestLimits limits;
};

// Opens, packs and digests the checkpoint, and makes a runner with as many pages as the options
// allow. Progress and sizes go to the log.
absl::StatusOr<LoadedModel> LoadWorkerModel(const WorkerOptions& options, Logger& logger);

// How many pages of `page_bytes` the options allow; RESOURCE_EXHAUSTED when not one.
absl::StatusOr<int> CountPages(const WorkerOptions& options, uint64_t page_bytes);

}  // namespace baton
