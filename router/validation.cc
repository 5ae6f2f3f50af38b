#include "router/validation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

constexpr uint32_t kDefaultMaxTokens = 16;

absl::Status CheckUtf8(std::string_view field, std::string_view value) {
  if (const auto offset = FirstInvalidUtf8(value)) {
    return InvalidArgument("{}: byte {} is not UTF-8, expected valid UTF-8", field, *offset);
  }
  return absl::OkStatus();
}

// Written so that NaN fails.
absl::Status CheckRange(std::string_view field, float value, float low, float high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return InvalidArgument("{}: {}, expected {} to {}", field, value, low, high);
}

absl::Status CheckTokens(std::string_view field,
                         const google::protobuf::RepeatedField<int32_t>& ids, uint32_t vocab_size) {
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<uint32_t>(ids[i]) >= vocab_size) {
      return InvalidArgument("{}[{}]: {}, expected 0 to {}", field, i, ids[i], vocab_size - 1);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNotBuilt(const v1::GenerateRequest& r) {
  if (r.has_n() && r.n() != 1) {
    return Unimplemented("n: {}, expected 1: several outputs are not built yet", r.n());
  }
  if (r.echo()) return Unimplemented("echo: true, expected false: not built yet");
  return absl::OkStatus();
}

absl::Status CheckNames(const v1::GenerateRequest& r, const ModelInfo& model,
                        const GenerateLimits& limits) {
  if (!r.model().empty() && r.model() != model.name) {
    return NotFound("model: '{}', expected '{}'", r.model().substr(0, limits.id_bytes), model.name);
  }
  const bool printable = std::all_of(r.request_id().begin(), r.request_id().end(),
                                     [](char c) { return c > ' ' && c < 0x7f; });
  if (r.request_id().size() > limits.id_bytes || !printable) {
    return InvalidArgument("request_id: {} bytes, expected at most {} printable ASCII characters",
                           r.request_id().size(), limits.id_bytes);
  }
  if (r.tenant().size() > limits.id_bytes) {
    return InvalidArgument("tenant: {} bytes, expected at most {}", r.tenant().size(),
                           limits.id_bytes);
  }
  return CheckUtf8("tenant", r.tenant());
}

absl::Status FillPrompt(const v1::GenerateRequest& r, const ModelInfo& model,
                        const TextCodec* codec, const GenerateLimits& limits,
                        v1::WorkerRequest& worker) {
  auto& prompt = *worker.mutable_prompt();
  switch (r.prompt_case()) {
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return InvalidArgument("prompt: not set, expected text or token_ids");
    case v1::GenerateRequest::kTokenIds:
      BATON_RETURN_IF_ERROR(CheckTokens("token_ids", r.token_ids().ids(), model.vocab_size));
      prompt = r.token_ids().ids();
      break;
    case v1::GenerateRequest::kText: {
      if (codec == nullptr) {
        return FailedPrecondition(
            "text: this router has no tokenizer (--model), expected token_ids");
      }
      if (r.text().size() > limits.text_bytes) {
        return InvalidArgument("text: {} bytes, expected at most {}", r.text().size(),
                               limits.text_bytes);
      }
      BATON_RETURN_IF_ERROR(CheckUtf8("text", r.text()));
      const bool add_special = !r.has_add_special_tokens() || r.add_special_tokens();
      auto ids = codec->Encode(r.text(), add_special);
      if (!ids.ok()) return Annotate(ids.status(), "text");
      prompt.Assign(ids->begin(), ids->end());
      BATON_RETURN_IF_ERROR(CheckTokens("text as tokens", prompt, model.vocab_size));
      break;
    }
  }
  if (prompt.empty()) return InvalidArgument("prompt: 0 tokens, expected at least 1");
  return absl::OkStatus();
}

absl::Status FillLength(const v1::GenerateRequest& r, const ModelInfo& model,
                        v1::WorkerRequest& worker) {
  const uint32_t max_tokens = r.has_max_tokens() ? r.max_tokens() : kDefaultMaxTokens;
  if (max_tokens < 1) return InvalidArgument("max_tokens: 0, expected at least 1");
  const uint64_t total = uint64_t{max_tokens} + static_cast<uint64_t>(worker.prompt_size());
  if (total > model.max_context) {
    return InvalidArgument(
        "max_tokens: {} after a prompt of {} tokens, expected a sum of at most {} (the context)",
        max_tokens, worker.prompt_size(), model.max_context);
  }
  worker.mutable_sampling()->set_max_tokens(max_tokens);
  return absl::OkStatus();
}

// What changes the logits. The smallest and the largest repetition penalty are far beyond use and
// keep a logit finite.
absl::Status FillLogitChanges(const v1::GenerateRequest& r, const ModelInfo& model,
                              const GenerateLimits& limits, v1::SamplingParams& sampling) {
  sampling.set_presence_penalty(r.presence_penalty());
  BATON_RETURN_IF_ERROR(CheckRange("presence_penalty", r.presence_penalty(), -2, 2));
  sampling.set_frequency_penalty(r.frequency_penalty());
  BATON_RETURN_IF_ERROR(CheckRange("frequency_penalty", r.frequency_penalty(), -2, 2));
  if (r.has_repetition_penalty()) {
    sampling.set_repetition_penalty(r.repetition_penalty());
    BATON_RETURN_IF_ERROR(CheckRange("repetition_penalty", r.repetition_penalty(), 0.01f, 100));
  }
  if (r.logit_bias().size() > limits.logit_biases) {
    return InvalidArgument("logit_bias: {} entries, expected at most {}", r.logit_bias().size(),
                           limits.logit_biases);
  }
  for (const auto& [token, bias] : r.logit_bias()) {
    if (token < 0 || static_cast<uint32_t>(token) >= model.vocab_size) {
      return InvalidArgument("logit_bias: token {}, expected 0 to {}", token, model.vocab_size - 1);
    }
    BATON_RETURN_IF_ERROR(CheckRange(fmt::format("logit_bias[{}]", token), bias, -100, 100));
  }
  *sampling.mutable_logit_bias() = r.logit_bias();
  return absl::OkStatus();
}

absl::Status FillSampling(const v1::GenerateRequest& r, const ModelInfo& model,
                          const GenerateLimits& limits, std::mt19937_64& rng,
                          v1::SamplingParams& sampling) {
  sampling.set_temperature(r.has_temperature() ? r.temperature() : 1.0f);
  BATON_RETURN_IF_ERROR(CheckRange("temperature", sampling.temperature(), 0, limits.temperature));
  sampling.set_top_p(r.has_top_p() ? r.top_p() : 1.0f);
  if (!(sampling.top_p() > 0 && sampling.top_p() <= 1)) {
    return InvalidArgument("top_p: {}, expected more than 0, at most 1", sampling.top_p());
  }
  if (r.top_k() > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return InvalidArgument("top_k: {}, expected at most {}", r.top_k(),
                           std::numeric_limits<int32_t>::max());
  }
  sampling.set_top_k(r.top_k());
  sampling.set_min_p(r.min_p());
  BATON_RETURN_IF_ERROR(CheckRange("min_p", sampling.min_p(), 0, 1));
  if (r.logprobs() > limits.logprobs) {
    return InvalidArgument("logprobs: {}, expected 0 to {}", r.logprobs(), limits.logprobs);
  }
  BATON_RETURN_IF_ERROR(FillLogitChanges(r, model, limits, sampling));
  sampling.set_logprobs(r.logprobs());
  sampling.set_want_logprobs(r.has_logprobs());
  if (r.stop_token_ids_size() > limits.stop_token_ids) {
    return InvalidArgument("stop_token_ids: {} entries, expected at most {}",
                           r.stop_token_ids_size(), limits.stop_token_ids);
  }
  BATON_RETURN_IF_ERROR(CheckTokens("stop_token_ids", r.stop_token_ids(), model.vocab_size));
  *sampling.mutable_stop_token_ids() = r.stop_token_ids();
  sampling.set_ignore_eos(r.ignore_eos());
  sampling.set_seed(r.has_seed() ? r.seed() : rng());
  return absl::OkStatus();
}

absl::Status FillStops(const v1::GenerateRequest& r, const TextCodec* codec,
                       const GenerateLimits& limits, RequestSpec& spec) {
  if (r.stop_size() > limits.stop_strings) {
    return InvalidArgument("stop: {} strings, expected at most {}", r.stop_size(),
                           limits.stop_strings);
  }
  if (r.stop_size() > 0 && codec == nullptr) {
    return FailedPrecondition("stop: this router has no tokenizer (--model), expected none");
  }
  for (int i = 0; i < r.stop_size(); ++i) {
    const std::string& stop = r.stop(i);
    if (stop.empty() || stop.size() > limits.stop_bytes) {
      return InvalidArgument("stop[{}]: {} bytes, expected 1 to {}", i, stop.size(),
                             limits.stop_bytes);
    }
    BATON_RETURN_IF_ERROR(CheckUtf8(fmt::format("stop[{}]", i), stop));
    spec.stops.push_back(stop);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RequestSpec> ValidateRequest(const v1::GenerateRequest& request,
                                            const ModelInfo& model, const TextCodec* codec,
                                            const GenerateLimits& limits, std::mt19937_64& rng) {
  RequestSpec spec;
  v1::WorkerRequest& worker = spec.worker;
  BATON_RETURN_IF_ERROR(CheckNames(request, model, limits));
  BATON_RETURN_IF_ERROR(CheckNotBuilt(request));
  BATON_RETURN_IF_ERROR(FillSampling(request, model, limits, rng, *worker.mutable_sampling()));
  BATON_RETURN_IF_ERROR(FillStops(request, codec, limits, spec));
  BATON_RETURN_IF_ERROR(FillPrompt(request, model, codec, limits, worker));
  BATON_RETURN_IF_ERROR(FillLength(request, model, worker));
  worker.set_request_id(request.request_id().empty() ? TransferId::Random(rng).ToString()
                                                     : request.request_id());
  worker.set_tenant(request.tenant());
  spec.include_stop = request.include_stop_str_in_output();
  spec.skip_special_tokens = !request.has_skip_special_tokens() || request.skip_special_tokens();
  return spec;
}

}  // namespace baton
