#pragma once

#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/kv.pb.h"
#include "router/model_info.h"
#include "router/text_codec.h"

namespace baton {

// Bounds on one request, whatever the model.
struct GenerateLimits {
  size_t id_bytes = 128;  // request_id and tenant
  size_t text_bytes = 4 << 20;
  int stop_strings = 16;
  size_t stop_bytes = 256;  // each
  int stop_token_ids = 256;
  uint32_t logprobs = 20;
  size_t logit_biases = 1024;
  float temperature = 100;
};

// A request that passed validation: all a worker needs, and what the router does with the output.
struct RequestSpec {
  v1::WorkerRequest worker;
  std::vector<std::string> stops;
  bool include_stop = false;
  bool skip_special_tokens = true;
};

// Checks every field and fills in defaults; draws request id and seed where absent. The message of
// an error names field, value and expectation: INVALID_ARGUMENT; NOT_FOUND for another model;
// UNIMPLEMENTED for an option that is not built; FAILED_PRECONDITION for text without a tokenizer
// (`codec` is null then).
absl::StatusOr<RequestSpec> ValidateRequest(const v1::GenerateRequest& request,
                                            const ModelInfo& model, const TextCodec* codec,
                                            const GenerateLimits& limits, std::mt19937_64& rng);

}  // namespace baton
