#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace baton {

// `baton generate`: one request, streamed to standard output.
struct GenerateOptions {
  std::string endpoint;
  std::string model;
  std::string request_id;
  // Exactly one of these three.
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  std::optional<std::string> token_ids;  // "1,2,3" or "@file"
  uint32_t max_tokens = 64;
  std::optional<float> temperature, top_p, min_p;
  std::optional<float> presence_penalty, frequency_penalty, repetition_penalty;
  std::map<int32_t, float> logit_bias;  // by token id
  std::optional<uint32_t> top_k, logprobs;
  std::optional<uint64_t> seed;
  bool ignore_eos = false;
  bool include_stop = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool json = false;
  bool timing = false;  // after the text, print where the time went
  std::chrono::milliseconds timeout{300'000};
};

absl::Status RunGenerate(const GenerateOptions& options);

}  // namespace baton
