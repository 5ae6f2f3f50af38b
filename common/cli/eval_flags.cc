#include "common/cli/eval_flags.h"

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

namespace baton {
namespace {

void AddText(CLI::App& command, EvalTextOptions& o) {
  command.add_option("--tokens", o.tokens, "File of 16-bit little-endian token ids");
  command.add_option("--text", o.text, "Text file, encoded with the model's tokenizer");
  command.add_option("--window", o.window, "Tokens that are judged together; half are the prompt")
      ->check(CLI::Range(4, 1 << 24))
      ->capture_default_str();
  command.add_option("--max-windows", o.max_windows, "At most so many windows; 0 = all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
}

void AddPhases(CLI::App& command, bool& both) {
  command
      .add_option_function<std::string>(
          "--phases", [&both](const std::string& value) { both = value == "both"; },
          "decode: score the second half of each window (default); both: every token")
      ->check(CLI::IsMember({"decode", "both"}));
}

void AddThreads(CLI::App& command, int& threads, bool& trust) {
  command.add_option("--threads", threads, "0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_flag("--trust-model-identity", trust,
                   "Accept checkpoints that do not say which model they were made from");
}

CLI::App* AddPair(CLI::App& eval, const char* name, const char* about, EvalPairOptions& o) {
  CLI::App* c = eval.add_subcommand(name, about);
  c->add_option("--prefill-model", o.prefill_model, "Folder of the prefill role")->required();
  c->add_option("--decode-model", o.decode_model, "Folder of the decode role")->required();
  c->add_option("--reference-model", o.reference_model,
                "Folder of the unquantized model (default: the roles' where they share one)");
  c->add_option("--prefill-weights", o.prefill_weights, "Scheme of the prefill role")
      ->capture_default_str();
  c->add_option("--decode-weights", o.decode_weights, "Scheme of the decode role")
      ->capture_default_str();
  c->add_option("--kv", o.kv, "Format of the cache in both roles")->capture_default_str();
  c->add_option("--prefill-kv", o.prefill_kv, "Format in the prefill role");
  c->add_option("--decode-kv", o.decode_kv, "Format in the decode role");
  c->add_option("--wire", o.wire, "Format between the roles (default: the decode role's)");
  AddText(*c, o.text);
  AddPhases(*c, o.both_phases);
  AddThreads(*c, o.threads, o.trust_model_identity);
  c->add_option("--plot", o.plot, "Draw the figures by token of the decode into this SVG file");
  c->add_option_function<std::string>(
       "--output", [&o](const std::string& value) { o.json = value == "json"; }, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  return c;
}

CLI::App* AddMatrix(CLI::App& eval, EvalMatrixOptions& o) {
  CLI::App* c = eval.add_subcommand("matrix", "Prefill schemes x KV formats x decode schemes");
  c->add_option("--model", o.model, "Folder of the unquantized model")->required();
  c->add_option("--prefill-weights", o.prefills, "Schemes, or LABEL=FOLDER of a checkpoint")
      ->delimiter(',')
      ->required();
  c->add_option("--decode-weights", o.decodes, "Schemes, or LABEL=FOLDER of a checkpoint")
      ->delimiter(',')
      ->required();
  c->add_option("--kv", o.kvs, "Formats of the cache, in both roles and between them")
      ->delimiter(',')
      ->required();
  AddText(*c, o.text);
  AddPhases(*c, o.both_phases);
  c->add_option("--greedy-tokens", o.greedy_tokens, "Compare so many greedy tokens; 0 = none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  AddThreads(*c, o.threads, o.trust_model_identity);
  c->add_option("--output", o.output, "markdown, csv or json")
      ->check(CLI::IsMember({"markdown", "csv", "json"}))
      ->capture_default_str();
  c->add_option("--markdown", o.markdown, "Write the table into this file");
  c->add_option("--csv", o.csv, "Write every figure into this file");
  c->add_option("--heat-map", o.heat_map, "Draw the increase into this SVG file");
  c->add_option("--gate", o.gate, "File of bounds; a broken one is an error");
  c->footer(
      "Example: baton eval matrix --model DIR --prefill-weights fp16,w8a8 --decode-weights "
      "w4a16,w4a8 --kv fp16,int8 --tokens FILE --window 1024");
  return c;
}

}  // namespace

EvalCommands::EvalCommands(CLI::App& app) {
  CLI::App* eval = app.add_subcommand("eval", "Judge the accuracy of a prefill and decode pair");
  eval->require_subcommand(1);
  perplexity_command_ = AddPair(*eval, "perplexity", "Perplexity over the reference", perplexity_);
  CLI::App* divergence =
      AddPair(*eval, "divergence", "Perplexity, KL and best tokens by position", divergence_);
  divergence_.divergence = true;
  divergence
      ->add_option("--greedy-tokens", divergence_.greedy_tokens,
                   "Compare so many greedy tokens; 0 = none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  divergence_command_ = divergence;
  matrix_command_ = AddMatrix(*eval, matrix_);
}

std::optional<absl::Status> EvalCommands::RunParsed() {
  if (perplexity_command_->parsed()) return RunEvalPair(perplexity_);
  if (divergence_command_->parsed()) return RunEvalPair(divergence_);
  if (matrix_command_->parsed()) return RunEvalMatrix(matrix_);
  return std::nullopt;
}

}  // namespace baton
