#include <CLI/CLI.hpp>
#include <cstdlib>

#include "common/base/status.h"
#include "common/cli/bench_serve.h"
#include "common/cli/eval_flags.h"
#include "common/cli/generate.h"
#include "common/cli/input.h"
#include "common/cli/inspect.h"
#include "common/cli/quantize_flags.h"
#include "common/cli/status.h"
#include "common/cli/tokenize.h"

namespace baton {
namespace {

constexpr const char* kDefaultEndpoint = "127.0.0.1:8000";

void AddEndpoint(CLI::App& command, std::string& endpoint) {
  endpoint = kDefaultEndpoint;
  command.add_option("--endpoint", endpoint, "Router, host:port (or BATON_ENDPOINT)")
      ->envname("BATON_ENDPOINT")
      ->capture_default_str();
}

void AddOutput(CLI::App& command, bool& json) {
  command
      .add_option_function<std::string>(
          "--output", [&json](const std::string& value) { json = value == "json"; }, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
}

CLI::App* AddGenerate(CLI::App& app, GenerateOptions& o) {
  CLI::App* c = app.add_subcommand("generate", "Send one request and stream its completion");
  AddEndpoint(*c, o.endpoint);
  c->add_option("--model", o.model, "Served model name; empty: the router's only one");
  c->add_option("--request-id", o.request_id, "Unique among live requests; empty: drawn");
  c->add_option("--prompt", o.prompt, "Prompt text");
  c->add_option("--prompt-file", o.prompt_file, "File with the prompt text");
  c->add_option("--token-ids", o.token_ids, "Prompt as ids: 1,2,3 or @FILE; used as they are");
  c->add_option("--max-tokens", o.max_tokens, "Output tokens at most")->capture_default_str();
  c->add_option("--temperature", o.temperature, "0 = greedy (default 1)");
  c->add_option("--top-p", o.top_p, "Nucleus, (0, 1]");
  c->add_option("--top-k", o.top_k, "0 = off");
  c->add_option("--min-p", o.min_p, "[0, 1]");
  c->add_option(
      "--repetition-penalty", o.repetition_penalty,
      "Divides positive logits of tokens in prompt and output, multiplies others; 1 = off");
  c->add_option("--presence-penalty", o.presence_penalty,
                "Subtracted from the logits of tokens in the output, [-2, 2]");
  c->add_option("--frequency-penalty", o.frequency_penalty,
                "The same, once for each occurrence, [-2, 2]");
  c->add_option_function<std::string>(
      "--logit-bias",
      [&o](const std::string& text) {
        auto biases = ParseLogitBias(text);
        if (!biases.ok()) {
          throw CLI::ValidationError("--logit-bias", std::string(MessageOf(biases.status())));
        }
        o.logit_bias = *std::move(biases);
      },
      "Added to the logits of tokens: ID:VALUE,ID:VALUE, values in [-100, 100]");
  c->add_option("--seed", o.seed, "The same seed gives the same tokens");
  c->add_option("--logprobs", o.logprobs, "Log-probabilities, and so many alternatives, 0 to 20");
  c->add_flag("--ignore-eos", o.ignore_eos, "Go on after the end-of-sequence token");
  c->add_option("--stop", o.stop, "Stop string; may be repeated")->allow_extra_args(false);
  c->add_flag("--include-stop", o.include_stop, "Keep the stop string in the text");
  c->add_option("--stop-token-ids", o.stop_token_ids, "Ids that end the output: 1,2,3")
      ->delimiter(',');
  c->add_flag("--timing", o.timing, "After the text, print where the time went");
  c->add_option_function<int64_t>(
      "--timeout-ms", [&o](int64_t ms) { o.timeout = std::chrono::milliseconds(ms); },
      "Deadline of the request (default 300000)");
  AddOutput(*c, o.json);
  c->footer("Example: baton generate --prompt 'Once upon a time' --max-tokens 32 --temperature 0");
  return c;
}

CLI::App* AddTokenize(CLI::App& app, TokenizeOptions& o) {
  CLI::App* c = app.add_subcommand("tokenize", "Text to token ids and back");
  c->add_option("--model", o.model, "Folder with tokenizer.json, or GGUF file")->required();
  c->add_option("--text", o.text, "Text to encode");
  c->add_option("--file", o.file, "File to encode");
  c->add_option("--decode", o.decode, "Ids to decode: 1,2,3 or @FILE");
  c->add_flag("!--no-special-tokens", o.add_special_tokens, "Do not add BOS and the like");
  AddOutput(*c, o.json);
  return c;
}

CLI::App* AddBenchServe(CLI::App& bench, BenchServeOptions& o) {
  CLI::App* c =
      bench.add_subcommand("serve", "Load a router; the keys are those of vllm bench serve");
  AddEndpoint(*c, o.endpoint);
  c->add_option("--model", o.model, "Served model name");
  c->add_option("--requests", o.requests, "How many")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  c->add_option("--concurrency", o.concurrency, "In flight at most; 0 = no limit")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  c->add_option("--rate", o.rate,
                "Requests per second, Poisson; 0 = as fast as --concurrency allows")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  c->add_option("--input-len", o.input_len, "Prompt tokens")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  c->add_option("--output-len", o.output_len, "Output tokens")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  c->add_option("--range-ratio", o.range_ratio, "Lengths vary by this share")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  c->add_option("--temperature", o.temperature, "0 = greedy")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  c->add_option("--seed", o.seed, "Prompts, arrivals, lengths")->capture_default_str();
  c->add_option("--goodput-ttft-ms", o.goodput.ttft_ms, "A good request's TTFT at most");
  c->add_option("--goodput-tpot-ms", o.goodput.tpot_ms, "A good request's TPOT at most");
  c->add_flag("!--no-progress", o.progress, "No progress line");
  AddOutput(*c, o.json);
  return c;
}

CLI::App* AddInspect(CLI::App& app, InspectOptions& o) {
  CLI::App* c = app.add_subcommand("inspect", "What a model folder holds, and whom it may serve");
  c->add_option("folder", o.folder, "Model folder or GGUF file")->required();
  c->add_option("--with", o.with, "Folder of a decode role: may the first prefill for it?");
  c->add_flag("--trust-model-identity", o.trust_model_identity,
              "Accept checkpoints that do not say which model they were made from");
  AddOutput(*c, o.json);
  return c;
}

CLI::App* AddWait(CLI::App& app, WaitOptions& o) {
  CLI::App* c = app.add_subcommand("wait", "Return once enough workers are ready");
  AddEndpoint(*c, o.endpoint);
  c->add_option("--prefill", o.prefill, "Ready prefill workers")->capture_default_str();
  c->add_option("--decode", o.decode, "Ready decode workers")->capture_default_str();
  c->add_option_function<int64_t>(
      "--timeout-ms", [&o](int64_t ms) { o.timeout = std::chrono::milliseconds(ms); },
      "Give up after (default 60000)");
  return c;
}

CLI::App* AddStatus(CLI::App& app, StatusOptions& o) {
  CLI::App* c = app.add_subcommand("status", "The workers as the router sees them");
  AddEndpoint(*c, o.endpoint);
  AddOutput(*c, o.json);
  return c;
}

int Run(int argc, char** argv) {
  CLI::App app("Baton: prefill and decode on separate workers, each in its own precision", "baton");
  app.require_subcommand(1);
  GenerateOptions generate;
  TokenizeOptions tokenize;
  BenchServeOptions serve;
  StatusOptions cluster_status;
  WaitOptions wait;
  InspectOptions inspect;
  const CLI::App* generate_command = AddGenerate(app, generate);
  const CLI::App* tokenize_command = AddTokenize(app, tokenize);
  const CLI::App* status_command = AddStatus(app, cluster_status);
  const CLI::App* wait_command = AddWait(app, wait);
  const CLI::App* inspect_command = AddInspect(app, inspect);
  EvalCommands eval(app);
  QuantizeCommands quantize(app);
  CLI::App* bench_command = app.add_subcommand("bench", "Measure");
  bench_command->require_subcommand(1);
  const CLI::App* serve_command = AddBenchServe(*bench_command, serve);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  absl::Status status;
  if (generate_command->parsed()) status = RunGenerate(generate);
  if (tokenize_command->parsed()) status = RunTokenize(tokenize);
  if (status_command->parsed()) status = RunStatus(cluster_status);
  if (wait_command->parsed()) status = RunWait(wait);
  if (serve_command->parsed()) status = RunBenchServe(serve);
  if (inspect_command->parsed()) status = RunInspect(inspect);
  if (const auto evaluated = eval.RunParsed()) status = *evaluated;
  if (const auto quantized = quantize.RunParsed()) status = *quantized;
  if (status.ok()) return EXIT_SUCCESS;
  fmt::print(stderr, "baton: {}\n", ToString(status));
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(argc, argv); }
