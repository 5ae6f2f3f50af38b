#include "common/engine/request.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"

namespace baton {
namespace {

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

absl::Status CheckTokenIds(std::string_view field, const google::protobuf::RepeatedField<int>& ids,
                           int vocab_size) {
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size) {
      return InvalidArgument("{}[{}]: {}, expected a token id from 0 to {}", field, i, ids[i],
                             vocab_size - 1);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRange(std::string_view field, float value, float low, float high) {
  if (value >= low && value <= high) return absl::OkStatus();  // NaN fails
  return InvalidArgument("sampling.{}: {}, expected {} to {}", field, value, low, high);
}

// Penalties and logit bias.
absl::Status ParseLogitChanges(const v1::SamplingParams& proto, const RequestLimits& limits,
                               SamplingParams& params) {
  params.presence_penalty = proto.presence_penalty();
  params.frequency_penalty = proto.frequency_penalty();
  if (proto.has_repetition_penalty()) params.repetition_penalty = proto.repetition_penalty();
  BATON_RETURN_IF_ERROR(CheckRange("presence_penalty", params.presence_penalty, -2, 2));
  BATON_RETURN_IF_ERROR(CheckRange("frequency_penalty", params.frequency_penalty, -2, 2));
  BATON_RETURN_IF_ERROR(CheckRange("repetition_penalty", params.repetition_penalty, 0.01f, 100));
  if (proto.logit_bias().empty()) return absl::OkStatus();
  if (proto.logit_bias().size() > static_cast<size_t>(limits.max_logit_biases)) {
    return InvalidArgument("sampling.logit_bias: {} entries, expected at most {}",
                           proto.logit_bias().size(), limits.max_logit_biases);
  }
  std::vector<kernels::TokenBias> biases;
  for (const auto& [token, bias] : proto.logit_bias()) {
    if (token < 0 || token >= limits.vocab_size) {
      return InvalidArgument("sampling.logit_bias: token {}, expected 0 to {}", token,
                             limits.vocab_size - 1);
    }
    BATON_RETURN_IF_ERROR(CheckRange(fmt::format("logit_bias[{}]", token), bias, -100, 100));
    biases.push_back({token, bias});
  }
  params.logit_bias = std::make_shared<const std::vector<kernels::TokenBias>>(std::move(biases));
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> ParseSampling(const v1::SamplingParams& proto,
                                             const RequestLimits& limits) {
  if (!std::isfinite(proto.temperature()) || proto.temperature() < 0) {
    return InvalidArgument("sampling.temperature: {}, expected a finite number >= 0",
                           proto.temperature());
  }
  if (!(proto.top_p() > 0 && proto.top_p() <= 1)) {
    return InvalidArgument("sampling.top_p: {}, expected more than 0 and at most 1", proto.top_p());
  }
  if (!(proto.min_p() >= 0 && proto.min_p() <= 1)) {
    return InvalidArgument("sampling.min_p: {}, expected 0 to 1", proto.min_p());
  }
  if (proto.logprobs() > static_cast<uint32_t>(limits.max_top_logprobs)) {
    return InvalidArgument("sampling.logprobs: {}, expected 0 to {}", proto.logprobs(),
                           limits.max_top_logprobs);
  }
  SamplingParams params;
  params.temperature = proto.temperature();
  params.top_p = proto.top_p();
  // More than the whole vocabulary filters nothing, as 0 does.
  params.top_k = proto.top_k() >= static_cast<uint32_t>(limits.vocab_size)
                     ? 0
                     : static_cast<int>(proto.top_k());
  params.min_p = proto.min_p();
  params.seed = proto.seed();
  params.want_logprob = proto.want_logprobs();
  params.top_logprobs = static_cast<int>(proto.logprobs());
  BATON_RETURN_IF_ERROR(ParseLogitChanges(proto, limits, params));
  return params;
}

}  // namespace

std::optional<Finish> CheckStop(const StopConditions& stop, int32_t token, int output_tokens) {
  const bool is_eos = !stop.ignore_eos && Contains(stop.eos_token_ids, token);
  if (is_eos || Contains(stop.stop_token_ids, token)) {
    return Finish{v1::FINISH_REASON_STOP, token};
  }
  if (output_tokens >= stop.max_tokens) return Finish{v1::FINISH_REASON_LENGTH, std::nullopt};
  return std::nullopt;
}

absl::StatusOr<EngineRequest> ParseRequest(const v1::WorkerRequest& request,
                                           const RequestLimits& limits) {
  if (request.prompt().empty()) return InvalidArgument("prompt: empty, expected at least 1 token");
  BATON_RETURN_IF_ERROR(CheckTokenIds("prompt", request.prompt(), limits.vocab_size));
  const v1::SamplingParams& sampling = request.sampling();
  if (sampling.stop_token_ids_size() > limits.max_stop_token_ids) {
    return InvalidArgument("sampling.stop_token_ids: {} ids, expected at most {}",
                           sampling.stop_token_ids_size(), limits.max_stop_token_ids);
  }
  BATON_RETURN_IF_ERROR(
      CheckTokenIds("sampling.stop_token_ids", sampling.stop_token_ids(), limits.vocab_size));
  if (sampling.max_tokens() < 1) {
    return InvalidArgument("sampling.max_tokens: {}, expected at least 1", sampling.max_tokens());
  }
  const int64_t positions = int64_t{request.prompt_size()} + sampling.max_tokens();
  if (positions > limits.max_context) {
    return InvalidArgument("prompt + max_tokens: {} tokens, expected at most {}", positions,
                           limits.max_context);
  }
  EngineRequest parsed;
  BATON_ASSIGN_OR_RETURN(parsed.sampling, ParseSampling(sampling, limits));
  parsed.id = RequestId(request.request_id());
  parsed.prompt.assign(request.prompt().begin(), request.prompt().end());
  parsed.tenant = request.tenant();
  parsed.stop.eos_token_ids = limits.eos_token_ids;
  parsed.stop.stop_token_ids.assign(sampling.stop_token_ids().begin(),
                                    sampling.stop_token_ids().end());
  parsed.stop.ignore_eos = sampling.ignore_eos();
  parsed.stop.max_tokens = static_cast<int>(sampling.max_tokens());
  return parsed;
}

std::optional<v1::Logprobs> ReportLogprobs(const SamplingParams& sampling,
                                           const SampledToken& sampled) {
  if (!sampling.want_logprob && sampling.top_logprobs == 0) return std::nullopt;
  v1::Logprobs report;
  report.set_chosen(sampled.logprob);
  for (const TokenProbability& candidate : sampled.top) {
    v1::TokenLogprob* top = report.add_top();
    top->set_token_id(candidate.token);
    top->set_logprob(candidate.logprob);
  }
  return report;
}

}  // namespace baton
