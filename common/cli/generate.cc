#include "common/cli/generate.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/bounded_queue.h"
#include "common/base/status.h"
#include "common/cli/client.h"
#include "common/cli/input.h"

namespace baton {
namespace {

using Json = nlohmann::ordered_json;

struct Output {
  std::vector<int32_t> token_ids;
  std::string text;
  std::vector<v1::Logprobs> logprobs;
  v1::Complete complete;
};

absl::StatusOr<v1::GenerateRequest> MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_request_id(options.request_id);
  request.set_model(options.model);
  const int sources =
      options.prompt.has_value() + options.prompt_file.has_value() + options.token_ids.has_value();
  if (sources != 1) {
    return InvalidArgument("{} of --prompt, --prompt-file and --token-ids given, expected one",
                           sources);
  }
  if (options.prompt) request.set_text(*options.prompt);
  if (options.prompt_file) {
    BATON_ASSIGN_OR_RETURN(*request.mutable_text(), ReadTextFile(*options.prompt_file));
  }
  if (options.token_ids) {
    BATON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ParseTokenIds(*options.token_ids));
    request.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  }
  request.set_max_tokens(options.max_tokens);
  if (options.temperature) request.set_temperature(*options.temperature);
  if (options.top_p) request.set_top_p(*options.top_p);
  if (options.min_p) request.set_min_p(*options.min_p);
  if (options.presence_penalty) request.set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) request.set_frequency_penalty(*options.frequency_penalty);
  if (options.repetition_penalty) request.set_repetition_penalty(*options.repetition_penalty);
  request.mutable_logit_bias()->insert(options.logit_bias.begin(), options.logit_bias.end());
  if (options.top_k) request.set_top_k(*options.top_k);
  if (options.seed) request.set_seed(*options.seed);
  if (options.logprobs) request.set_logprobs(*options.logprobs);
  request.set_ignore_eos(options.ignore_eos);
  request.set_include_stop_str_in_output(options.include_stop);
  for (const std::string& stop : options.stop) request.add_stop(stop);
  for (int32_t id : options.stop_token_ids) request.add_stop_token_ids(id);
  return request;
}

std::string KvFormatName(v1::KvFormat format) {
  if (format == v1::KV_FORMAT_UNSPECIFIED) return "none";
  std::string name = v1::KvFormat_Name(format).substr(std::string("KV_FORMAT_").size());
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  return name;
}

std::string FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    default:
      return "unspecified";
  }
}

Json LogprobsJson(const Output& output) {
  Json all = Json::array();
  for (size_t i = 0; i < output.logprobs.size(); ++i) {
    Json top = Json::array();
    for (const v1::TokenLogprob& entry : output.logprobs[i].top()) {
      top.push_back({{"token_id", entry.token_id()}, {"logprob", entry.logprob()}});
    }
    all.push_back({{"token_id", i < output.token_ids.size() ? output.token_ids[i] : -1},
                   {"logprob", output.logprobs[i].chosen()},
                   {"top", std::move(top)}});
  }
  return all;
}

Json ToJson(const Output& output) {
  const v1::Complete& done = output.complete;
  const v1::Timing& timing = done.timing();
  Json json;
  json["request_id"] = done.request_id();
  json["token_ids"] = output.token_ids;
  json["text"] = output.text;
  if (!output.logprobs.empty()) json["logprobs"] = LogprobsJson(output);
  json["finish_reason"] = FinishName(done.finish_reason());
  if (!done.matched_stop().empty()) json["matched_stop"] = done.matched_stop();
  if (done.has_matched_stop_token()) json["matched_stop_token"] = done.matched_stop_token();
  json["usage"] = {{"prompt_tokens", done.usage().prompt_tokens()},
                   {"completion_tokens", done.usage().completion_tokens()},
                   {"cached_tokens", done.usage().cached_tokens()}};
  json["timing"] = {{"queue_ms", timing.queue_ms()}, {"prefill_ms", timing.prefill_ms()},
                    {"pack_ms", timing.pack_ms()},   {"transfer_ms", timing.transfer_ms()},
                    {"ttft_ms", timing.ttft_ms()},   {"itl_ms", timing.itl_ms()},
                    {"e2e_ms", timing.e2e_ms()}};
  json["kv"] = {{"bytes_raw", done.kv().bytes_raw()},
                {"bytes_wire", done.kv().bytes_wire()},
                {"format", KvFormatName(done.kv().format())},
                {"slabs", done.kv().slabs()},
                {"tokens", done.kv().tokens()}};
  json["workers"] = {{"prefill", done.workers().prefill()}, {"decode", done.workers().decode()}};
  json["attempts"] = done.attempts();
  return json;
}

void PrintTiming(const v1::Complete& done) {
  const v1::Timing& timing = done.timing();
  double itl = 0;
  for (double gap : timing.itl_ms()) itl += gap;
  const int gaps = timing.itl_ms_size();
  const double mean_itl = gaps > 0 ? itl / gaps : 0;
  fmt::print(stderr,
             "\n"
             "prompt {} tokens ({} cached), output {} tokens, finished by {}\n"
             "  queue        {:9.2f} ms\n"
             "  prefill      {:9.2f} ms   on {}\n"
             "  pack         {:9.2f} ms\n"
             "  transfer     {:9.2f} ms   {} slabs, {}\n"
             "  first token  {:9.2f} ms   (TTFT)\n"
             "  decode       {:9.2f} ms   on {}: ITL {:.2f} ms, {:.1f} tokens/s\n"
             "  end to end   {:9.2f} ms\n",
             done.usage().prompt_tokens(), done.usage().cached_tokens(),
             done.usage().completion_tokens(), FinishName(done.finish_reason()), timing.queue_ms(),
             timing.prefill_ms(), done.workers().prefill(), timing.pack_ms(), timing.transfer_ms(),
             done.kv().slabs(), KvFormatName(done.kv().format()), timing.ttft_ms(), itl,
             done.workers().decode().empty() ? "no worker" : done.workers().decode(), mean_itl,
             mean_itl > 0 ? 1000.0 / mean_itl : 0.0, timing.e2e_ms());
  if (done.kv().bytes_raw() > 0) {
    fmt::print(stderr, "  KV           {} bytes raw (fp16), {} bytes on the wire ({:.1f} %)\n",
               done.kv().bytes_raw(), done.kv().bytes_wire(),
               100.0 * static_cast<double>(done.kv().bytes_wire()) /
                   static_cast<double>(done.kv().bytes_raw()));
  }
}

void Take(const v1::GenerateResponse& event, bool print, Output& output) {
  if (event.has_complete()) {
    output.complete = event.complete();
    return;
  }
  const v1::Chunk& chunk = event.chunk();
  output.token_ids.insert(output.token_ids.end(), chunk.token_ids().begin(),
                          chunk.token_ids().end());
  output.logprobs.insert(output.logprobs.end(), chunk.logprobs().begin(), chunk.logprobs().end());
  output.text += chunk.text();
  if (print) {
    fmt::print("{}", chunk.text());
    std::fflush(stdout);
  }
}

}  // namespace

absl::Status RunGenerate(const GenerateOptions& options) {
  BATON_ASSIGN_OR_RETURN(const v1::GenerateRequest request, MakeRequest(options));
  RealClock clock;
  InferenceClient client(options.endpoint, clock);
  using Event = StreamEvent<v1::GenerateResponse>;
  // The router's own queue bounds what arrives ahead of a slow terminal.
  auto events = std::make_shared<BoundedQueue<Event>>(1 << 20, clock);
  auto stream = client.Generate(request, options.timeout,
                                [events](Event event) { events->Push(std::move(event)); });
  Output output;
  const TimePoint limit = clock.Now() + options.timeout + std::chrono::seconds(10);
  while (true) {
    std::optional<Event> event = events->PopUntil(limit);
    if (!event) return DeadlineExceeded("no answer from {}", options.endpoint);
    if (auto* end = std::get_if<StreamClosed>(&*event)) {
      BATON_RETURN_IF_ERROR(end->status);
      break;
    }
    Take(std::get<v1::GenerateResponse>(*event), !options.json, output);
  }
  if (options.json) {
    fmt::print("{}\n",
               ToJson(output).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("\n");
    std::fflush(stdout);
    if (options.timing) PrintTiming(output.complete);
  }
  return absl::OkStatus();
}

}  // namespace baton
