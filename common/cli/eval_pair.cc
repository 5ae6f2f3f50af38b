#include "common/cli/eval_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/base/status.h"
#include "common/cli/pair_check.h"
#include "common/eval/evaluator.h"
#include "common/eval/summary.h"
#include "common/eval/svg.h"

namespace baton {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kShownBuckets = 8;
constexpr int kPlottedBuckets = 64;

absl::StatusOr<kernels::KvFormats> KvNamed(std::string_view flag, const std::string& name) {
  if (const auto formats = kernels::ParseKvFormats(name)) return *formats;
  return InvalidArgument("{}: '{}', expected fp16, bf16, fp8_e4m3, fp8_e5m2, int8, int4 or k8v4",
                         flag, name);
}

absl::StatusOr<PairSpec> PairOf(const EvalPairOptions& options) {
  PairSpec pair;
  pair.prefill.model = options.prefill_model;
  pair.decode.model = options.decode_model;
  BATON_ASSIGN_OR_RETURN(pair.prefill.weights, ParseWeightFormat(options.prefill_weights));
  BATON_ASSIGN_OR_RETURN(pair.decode.weights, ParseWeightFormat(options.decode_weights));
  BATON_ASSIGN_OR_RETURN(pair.prefill.kv,
                         KvNamed("prefill-kv", options.prefill_kv.value_or(options.kv)));
  BATON_ASSIGN_OR_RETURN(pair.decode.kv,
                         KvNamed("decode-kv", options.decode_kv.value_or(options.kv)));
  pair.wire = pair.decode.kv;
  if (options.wire) {
    BATON_ASSIGN_OR_RETURN(pair.wire, KvNamed("wire", *options.wire));
  }
  return pair;
}

absl::StatusOr<PairSpec> ReferenceOf(const EvalPairOptions& options) {
  std::string model = options.reference_model;
  if (model.empty()) {
    if (options.prefill_model != options.decode_model) {
      return InvalidArgument(
          "reference-model: not given, expected the folder of the unquantized model where "
          "--prefill-model and --decode-model differ");
    }
    model = options.prefill_model;
  }
  BATON_RETURN_IF_ERROR(
      CheckReference("reference-model", model, {options.prefill_model, options.decode_model}));
  const kernels::KvFormats fp16{kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};
  const RoleSpec role{.model = model, .weights = WeightFormat::kFp32, .kv = fp16};
  return PairSpec{.prefill = role, .decode = role, .wire = fp16};
}

absl::Status CheckMayServe(const EvalPairOptions& options, const PairSpec& pair) {
  const auto served = [&](const RoleSpec& role) {
    return ServedRole{.model = role.model,
                      .weights = role.weights,
                      .kv = role.kv,
                      .wire = pair.wire,
                      .trust_model_identity = options.trust_model_identity};
  };
  BATON_ASSIGN_OR_RETURN(const ContractCheck check,
                         CheckPair(served(pair.prefill), served(pair.decode)));
  if (check.ok()) return absl::OkStatus();
  return FailedPrecondition("the pair may not serve: {}", Describe(check.mismatches));
}

std::string PairText(const PairSpec& pair) {
  return fmt::format("prefill {}, KV {} → wire {} → decode {}, KV {}", NameOf(pair.prefill.weights),
                     kernels::KvFormatsName(pair.prefill.kv), kernels::KvFormatsName(pair.wire),
                     NameOf(pair.decode.weights), kernels::KvFormatsName(pair.decode.kv));
}

struct Judged {
  PairSpec pair;
  PairSpec reference;
  EvalConfig config;
  size_t windows = 0;
  EvalResult result;

  const PairScores& scores() const { return result.pairs[0]; }
  PairSummary Summary() const { return Summarize(scores(), result.reference); }
  std::vector<PositionBucket> Buckets(int count) const {
    return BucketPositions(scores(), result.reference, count);
  }
};

void PrintText(const Judged& judged, bool divergence) {
  const PairSummary summary = judged.Summary();
  const int half = judged.config.window / 2;
  fmt::print("pair        {}\n", PairText(judged.pair));
  fmt::print("reference   {} of {}\n", PairText(judged.reference), judged.reference.decode.model);
  fmt::print("text        {} windows of {} tokens, scored from token {} on\n", judged.windows,
             judged.config.window, judged.config.score_prompt ? 1 : half);
  fmt::print("perplexity  {}\n", NumberText(summary.perplexity, 4));
  fmt::print("            {} of the reference\n",
             NumberText(Perplexity(judged.result.reference.window_nll), 4));
  fmt::print("increase    {}\n", PercentText(summary.increase));
  if (!divergence) return;
  fmt::print("KL          {} nats\n", NumberText(summary.kl, 6));
  fmt::print("same best   {:.2f} % (95 %: {:.2f} to {:.2f})\n", 100 * summary.agreement.mean,
             100 * summary.agreement.low, 100 * summary.agreement.high);
  if (judged.config.greedy_tokens > 0) {
    const GreedySummary greedy = SummarizeGreedy(judged.scores(), judged.config.greedy_tokens);
    fmt::print("greedy      first difference at token {:g} (median); none in {} tokens: {:.1f} %\n",
               greedy.median, greedy.tokens, 100 * greedy.unchanged);
  }
  fmt::print("\n{:>13}  {:>12}  {:>10}  {:>9}\n", "decode tokens", "perplexity %", "KL",
             "same best");
  for (const PositionBucket& bucket : judged.Buckets(kShownBuckets)) {
    fmt::print("{:>13}  {:>+12.3f}  {:>10.6f}  {:>7.2f} %\n",
               fmt::format("{}-{}", bucket.first, bucket.end - 1), 100 * bucket.increase, bucket.kl,
               100 * bucket.agreement);
  }
}

Json ToJson(const Judged& judged, bool divergence) {
  const auto role = [](const RoleSpec& spec) {
    return Json{{"model", spec.model},
                {"weights", NameOf(spec.weights)},
                {"kv", kernels::KvFormatsName(spec.kv)}};
  };
  const auto pair = [&](const PairSpec& spec) {
    return Json{{"prefill", role(spec.prefill)},
                {"wire", kernels::KvFormatsName(spec.wire)},
                {"decode", role(spec.decode)}};
  };
  const PairSummary summary = judged.Summary();
  Json json;
  json["pair"] = pair(judged.pair);
  json["reference"] = pair(judged.reference);
  json["windows"] = judged.windows;
  json["window_tokens"] = judged.config.window;
  json["phases"] = judged.config.score_prompt ? "both" : "decode";
  json["perplexity"] = IntervalJson(summary.perplexity);
  json["reference_perplexity"] = IntervalJson(Perplexity(judged.result.reference.window_nll));
  json["increase"] = IntervalJson(summary.increase);
  json["window_nll"] = judged.scores().window_nll;
  json["reference_window_nll"] = judged.result.reference.window_nll;
  if (!divergence) return json;
  json["kl"] = IntervalJson(summary.kl);
  json["agreement"] = IntervalJson(summary.agreement);
  json["kl_by_position"] = judged.scores().kl_by_position;
  json["agreement_by_position"] = judged.scores().agreement_by_position;
  if (judged.config.greedy_tokens > 0) {
    json["greedy_tokens"] = judged.config.greedy_tokens;
    json["first_difference"] = judged.scores().first_difference;
  }
  return json;
}

std::string Plot(const Judged& judged, bool divergence) {
  LineSeries increase{.name = "perplexity"};
  LineSeries kl{.name = "KL"};
  LineSeries other{.name = "another best token"};
  for (const PositionBucket& bucket : judged.Buckets(kPlottedBuckets)) {
    const double middle = (bucket.first + bucket.end - 1) / 2.0;
    for (LineSeries* series : {&increase, &kl, &other}) series->x.push_back(middle);
    increase.y.push_back(100 * bucket.increase);
    kl.y.push_back(1000 * bucket.kl);
    other.y.push_back(100 * (1 - bucket.agreement));
  }
  const std::string x = "token of the decode";
  std::vector<LinePanel> panels;
  panels.push_back({PairText(judged.pair), x, "increase, %", {increase}});
  if (divergence) {
    panels.push_back({"KL divergence from the reference", x, "millinats", {kl}});
    panels.push_back({"positions with another best token", x, "%", {other}});
  }
  return DrawLines(panels);
}

}  // namespace

absl::Status RunEvalPair(const EvalPairOptions& options) {
  if (options.plot) BATON_RETURN_IF_ERROR(CheckSvgName("plot", *options.plot));
  Judged judged;
  BATON_ASSIGN_OR_RETURN(judged.pair, PairOf(options));
  BATON_ASSIGN_OR_RETURN(judged.reference, ReferenceOf(options));
  BATON_RETURN_IF_ERROR(CheckMayServe(options, judged.pair));
  BATON_ASSIGN_OR_RETURN(const EvalText text, LoadEvalText(options.text, options.prefill_model));
  judged.windows = text.windows.size();
  judged.config = {.window = options.text.window,
                   .score_prompt = options.both_phases,
                   .divergence = options.divergence,
                   .greedy_tokens = options.divergence ? options.greedy_tokens : 0,
                   .reference = judged.reference};
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  RunnerPool pool(options.threads > 0 ? options.threads : cores,
                  Evaluator::SequenceTokens(judged.config),
                  [](std::string_view note) { fmt::print(stderr, "{}\n", note); });
  Evaluator evaluator(judged.config, pool);
  BATON_ASSIGN_OR_RETURN(judged.result,
                         evaluator.Run(text.windows, std::span(&judged.pair, 1), WindowProgress()));
  if (options.json) {
    fmt::print("{}\n", ToJson(judged, options.divergence).dump());
  } else {
    PrintText(judged, options.divergence);
  }
  if (options.plot) return WriteTextFile(*options.plot, Plot(judged, options.divergence));
  return absl::OkStatus();
}

}  // namespace baton
