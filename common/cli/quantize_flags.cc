#include "common/cli/quantize_flags.h"

#include <CLI/CLI.hpp>
#include <string>

#include "common/calibrate/recipe.h"

namespace baton {
namespace {

void AddSwitch(CLI::App& command, const char* flag, std::optional<bool>& value, const char* about) {
  command
      .add_option_function<std::string>(
          flag, [&value](const std::string& text) { value = text == "on"; }, about)
      ->check(CLI::IsMember({"on", "off"}));
}

void AddCommon(CLI::App& command, QuantizeCommonOptions& o) {
  command.add_option("--model", o.model, "Folder of the unquantized model");
  command.add_option("--out", o.out, "Folder to make; must not hold a model");
  command.add_option("--calibration", o.calibration,
                     "Text like that of service: .jsonl with \"text\", or plain");
  command.add_option("--samples", o.samples, "Sequences of calibration text; the last 8 judge")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  command.add_option("--window", o.window, "Tokens of a sequence")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  command.add_option("--damping", o.damping, "Of GPTQ's Hessian (default 0.01)");
  command.add_option("--alpha", o.alpha, "Exponent of the scaling; searched by default");
  AddSwitch(command, "--smooth-kv", o.smooth_kv,
            "Smooth the KV cache, on or off (default: for pairs and w4a8kv4)");
  command.add_flag("--resume", o.resume, "Keep the finished layers of an interrupted run");
  command.add_option("--threads", o.threads, "0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

}  // namespace

QuantizeCommands::QuantizeCommands(CLI::App& app) {
  CLI::App* one = app.add_subcommand("quantize", "Make a quantized checkpoint, or those of a pair");
  AddCommon(*one, one_.common);
  one->add_option("--scheme", one_.scheme, KnownSchemes());
  one->add_option("--algorithm", one_.algorithm, "auto, " + KnownAlgorithms())
      ->capture_default_str();
  one->add_option("--group", one_.group, "Columns that share a scale of 4-bit weights; 0 = a row");
  AddSwitch(*one, "--symmetric", one_.symmetric, "4-bit weights without zero points, on or off");
  one->add_option("--bits", one_.bits,
                  "Mean bits per weight: the most sensitive layers get more within it");
  one->require_subcommand(0, 1);
  CLI::App* pair = one->add_subcommand("pair", "OUT/prefill and OUT/decode of one model");
  AddCommon(*pair, pair_.common);
  pair->add_option("--prefill-scheme", pair_.prefill_scheme, KnownSchemes())->capture_default_str();
  pair->add_option("--decode-scheme", pair_.decode_scheme,
                   KnownSchemes() + " (default: w4a16, or as --decode-batch recommends)");
  pair->add_option("--decode-batch", pair_.decode_batch,
                   "Sequences decoded together: measure the schemes here and recommend one")
      ->check(CLI::Range(1, 4096));
  pair->add_option("--prefill-algorithm", pair_.prefill_algorithm, "auto, " + KnownAlgorithms())
      ->capture_default_str();
  pair->add_option("--decode-algorithm", pair_.decode_algorithm, "auto, " + KnownAlgorithms())
      ->capture_default_str();
  pair->add_option("--prefill-bits", pair_.prefill_bits, "As --bits of `baton quantize`");
  pair->add_option("--decode-bits", pair_.decode_bits, "As --bits of `baton quantize`");
  pair->footer("Example: baton quantize pair --model M --out P --calibration text.jsonl");
  one_command_ = one;
  pair_command_ = pair;
}

std::optional<absl::Status> QuantizeCommands::RunParsed() {
  if (pair_command_->parsed()) return RunQuantizePair(pair_);
  if (one_command_->parsed()) return RunQuantize(one_);
  return std::nullopt;
}

}  // namespace baton
