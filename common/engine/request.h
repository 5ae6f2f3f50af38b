#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "common/base/ids.h"
#include "common/engine/model_runner.h"

namespace baton {

// When a sequence ends by itself. Stop strings are the router's business.
struct StopConditions {
  std::vector<int32_t> eos_token_ids;   // of the model; without effect when ignore_eos is set
  std::vector<int32_t> stop_token_ids;  // of the request
  bool ignore_eos = false;
  int max_tokens = 0;  // output tokens, >= 1
};

// How a sequence ended.
struct Finish {
  v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<int32_t> matched_stop_token;  // set with FINISH_REASON_STOP
};

// Whether the output ends with `token`, its `output_tokens`-th (counted from 1). A stop token wins
// over the length when both are met.
std::optional<Finish> CheckStop(const StopConditions& stop, int32_t token, int output_tokens);

// What the model of a worker and its configuration allow.
struct RequestLimits {
  int vocab_size = 0;
  int max_context = 0;  // prompt + output tokens
  std::vector<int32_t> eos_token_ids;
  int max_top_logprobs = 20;
  int max_stop_token_ids = 256;
  int max_logit_biases = 1024;
};

// One request as both engines see it, checked.
struct EngineRequest {
  RequestId id;
  std::vector<int32_t> prompt;  // >= 1 token, each in [0, vocab_size)
  SamplingParams sampling;
  StopConditions stop;
  std::string tenant;

  // Positions that the request may come to occupy.
  int max_positions() const { return static_cast<int>(prompt.size()) + stop.max_tokens; }
};

// Checks what came from outside; INVALID_ARGUMENT names field, value and expectation.
absl::StatusOr<EngineRequest> ParseRequest(const v1::WorkerRequest& request,
                                           const RequestLimits& limits);

// What the request asked to be told about a sampled token; empty when it asked for nothing.
std::optional<v1::Logprobs> ReportLogprobs(const SamplingParams& sampling,
                                           const SampledToken& sampled);

}  // namespace baton
