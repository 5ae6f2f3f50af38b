#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/cli/eval_text.h"

namespace baton {

// `baton eval perplexity` and `baton eval divergence`: what a pair costs over the reference, FP32
// weights in both roles with an FP16 cache.
struct EvalPairOptions {
  std::string prefill_model;  // folders
  std::string decode_model;
  std::string reference_model;  // empty: the roles' model, which must then be one
  std::string prefill_weights = "auto";
  std::string decode_weights = "auto";
  std::string kv = "fp16";  // of both roles
  std::optional<std::string> prefill_kv, decode_kv;
  std::optional<std::string> wire;  // absent: the decode role's
  EvalTextOptions text;
  bool both_phases = false;  // score the prompt's tokens too
  bool divergence = false;
  int greedy_tokens = 32;  // with divergence
  int threads = 0;         // 0: all cores
  bool trust_model_identity = false;
  std::optional<std::string> plot;  // SVG file
  bool json = false;
};

absl::Status RunEvalPair(const EvalPairOptions& options);

}  // namespace baton
