#pragma once

#include "baton/v1/kv.pb.h"
#include "common/engine/model_runner.h"
#include "common/model/digest.h"
#include "common/model/model_config.h"
#include "common/worker/worker_options.h"

namespace baton {

// What a worker promises and demands at a hand-over. Pure.
v1::KvContract MakeKvContract(const ModelConfig& model, const KvPages& pages,
                              const WorkerOptions& options, const Digest& checkpoint,
                              const Digest& tokenizer);

}  // namespace baton
