#include "common/cli/quantize.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "common/base/status.h"
#include "common/calibrate/model_quantizer.h"
#include "common/calibrate/recommend.h"
#include "common/model/checkpoint.h"
#include "common/model/model_files.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/runner/cpu/thread_pool.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

// The most memory that this process ever held.
double PeakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void ShowProgress(const QuantizeProgress& p) {
  constexpr int kWidth = 30;
  const int filled = p.total > 0 ? kWidth * p.done / p.total : 0;
  const bool terminal = isatty(fileno(stderr)) != 0;
  fmt::print(stderr, "{}[{:=<{}}{:<{}}] {}/{} layers, {:.0f} s, {:.0f} s left, peak {:.0f} MB{}",
             terminal ? "\r" : "", "", filled, "", kWidth - filled, p.done, p.total, p.seconds,
             p.seconds_left, PeakMegabytes(), terminal && p.done < p.total ? "" : "\n");
  std::fflush(stderr);
}

absl::Status CheckCommon(const QuantizeCommonOptions& o) {
  if (o.model.empty()) return InvalidArgument("--model: not given, expected a model folder");
  BATON_ASSIGN_OR_RETURN(const auto gguf, FindGguf(o.model));
  if (gguf) {
    return Unimplemented("--model: '{}', expected a Hugging Face folder, which is copied",
                         gguf->string());
  }
  if (o.out.empty()) return InvalidArgument("--out: not given, expected a folder to make");
  return absl::OkStatus();
}

absl::StatusOr<CalibrationTokens> Calibration(const QuantizeCommonOptions& o) {
  if (o.calibration.empty()) return CalibrationTokens{.window = o.window, .tokens = {}};
  BATON_ASSIGN_OR_RETURN(const auto tokenizer,
                         Tokenizer::Load(fs::path(o.model) / "tokenizer.json"));
  return ReadCalibration(o.calibration, *tokenizer, o.window, o.samples);
}

// Scales are stored in the type of the model's weights, as other programs expect.
absl::StatusOr<kernels::ScalarType> ScaleType(const fs::path& model) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(model));
  switch (checkpoint.Get(WeightKind::kQ, 0).type) {
    case DataType::kF16:
      return kernels::ScalarType::kFp16;
    case DataType::kBf16:
      return kernels::ScalarType::kBf16;
    default:
      return kernels::ScalarType::kFp32;
  }
}

void PrintReport(const QuantizeModelReport& report, const Recipe& recipe) {
  fmt::print("{}: {} by {}", report.out.string(), recipe.scheme, recipe.algorithm);
  if (report.bits_per_weight > 0) {
    fmt::print(", {:.3f} bits per weight of the linear layers", report.bits_per_weight);
  }
  fmt::print("\n");
  if (report.layers_kept > 0) fmt::print("{} layers kept from before\n", report.layers_kept);
  fmt::print("{}", ReportText(report.layers));
  if (report.cache_error_plain > 0) {
    fmt::print(
        "cache smoothed: an int4 cache costs {:.3f} % of attention's output, {:.3f} % plain\n",
        100 * report.cache_error, 100 * report.cache_error_plain);
  }
  const std::vector<std::string> sensitive = SensitiveLayers(report.layers);
  for (const std::string& line : sensitive) fmt::print("warning: sensitive: {}\n", line);
}

int ThreadsOf(const QuantizeCommonOptions& o) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return o.threads > 0 ? o.threads : std::max(1, cores);
}

Parallel On(ThreadPool& pool) {
  return [&pool](const std::function<void(int, int)>& fn) { pool.Run(fn); };
}

// Prints what the schemes cost for a decode batch, and returns the recommended one.
absl::StatusOr<std::string> Recommend(const QuantizeCommonOptions& o, int batch) {
  constexpr int64_t kSequences = 8;
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(o.model));
  BATON_ASSIGN_OR_RETURN(const CalibrationTokens calibration, Calibration(o));
  const int64_t sequences = std::min(kSequences, calibration.sequences());
  if (sequences == 0) {
    return InvalidArgument("--calibration: not given, expected a text file with --decode-batch");
  }
  BATON_ASSIGN_OR_RETURN(
      const Matrix hidden,
      EmbedTokens(checkpoint, std::span(calibration.tokens)
                                  .first(static_cast<size_t>(sequences * calibration.window))));
  ThreadPool pool(ThreadsOf(o));
  const Parallel parallel = On(pool);
  LayerPass pass(checkpoint.config(), calibration.window, parallel);
  const std::vector<SchemeCost> costs = MeasureSchemes(checkpoint, batch, pass, hidden, parallel);
  const SchemeCost& best = Recommended(costs);
  fmt::print("decode batch of {}, {} threads, round-to-nearest:\n", batch, pool.threads());
  for (const SchemeCost& cost : costs) {
    fmt::print("  {:<6} {:>9.0f} us per layer, {:.4f} % of the stream's power lost{}\n",
               cost.scheme, cost.microseconds, 100 * cost.error,
               &cost == &best ? "  <- recommended" : "");
  }
  return best.scheme;
}

absl::Status Run(const QuantizeCommonOptions& o, std::vector<QuantizeTarget> targets) {
  for (const QuantizeTarget& target : targets) {
    if (o.calibration.empty() && (target.recipe.NeedsText() || target.bits)) {
      return InvalidArgument("--calibration: not given, expected a text file for algorithm '{}'{}",
                             target.recipe.algorithm, target.bits ? " with --bits" : "");
    }
  }
  if (const std::string hint = SlowProductsHint(); !hint.empty()) {
    fmt::print(stderr, "note: {}\n", hint);
  }
  QuantizeModelOptions options;
  options.model = o.model;
  options.targets = std::move(targets);
  options.resume = o.resume;
  options.progress = ShowProgress;
  BATON_ASSIGN_OR_RETURN(options.calibration, Calibration(o));
  ThreadPool pool(ThreadsOf(o));
  const Parallel parallel = On(pool);
  BATON_ASSIGN_OR_RETURN(const std::vector<QuantizeModelReport> reports,
                         QuantizeModel(options, parallel));
  for (size_t i = 0; i < reports.size(); ++i) PrintReport(reports[i], options.targets[i].recipe);
  fmt::print("peak memory {:.0f} MB\n", PeakMegabytes());
  return absl::OkStatus();
}

}  // namespace

absl::Status RunQuantize(const QuantizeOptions& options) {
  const QuantizeCommonOptions& common = options.common;
  BATON_RETURN_IF_ERROR(CheckCommon(common));
  if (options.scheme.empty()) {
    return InvalidArgument("--scheme: not given, expected {}", KnownSchemes());
  }
  RecipeOptions wanted{.scheme = options.scheme,
                       .algorithm = options.algorithm,
                       .group = options.group,
                       .symmetric = options.symmetric,
                       .alpha = common.alpha,
                       .damping = common.damping,
                       .smooth_cache = common.smooth_kv};
  BATON_ASSIGN_OR_RETURN(wanted.scale_type, ScaleType(common.model));
  BATON_ASSIGN_OR_RETURN(Recipe recipe, MakeRecipe(wanted));
  return Run(common, {{.recipe = std::move(recipe), .out = common.out, .bits = options.bits}});
}

absl::Status RunQuantizePair(const QuantizePairOptions& options) {
  const QuantizeCommonOptions& common = options.common;
  BATON_RETURN_IF_ERROR(CheckCommon(common));
  std::vector<QuantizeTarget> targets;
  std::string decode_scheme = options.decode_scheme.value_or("w4a16");
  if (options.decode_batch) {
    BATON_ASSIGN_OR_RETURN(const std::string recommended, Recommend(common, *options.decode_batch));
    if (!options.decode_scheme) decode_scheme = recommended;
  }
  BATON_ASSIGN_OR_RETURN(const kernels::ScalarType scale_type, ScaleType(common.model));
  const auto add = [&](const std::string& scheme, const std::string& algorithm,
                       std::optional<double> bits, const char* folder) -> absl::Status {
    BATON_ASSIGN_OR_RETURN(Recipe recipe,
                           MakeRecipe({.scheme = scheme,
                                       .algorithm = algorithm,
                                       .alpha = common.alpha,
                                       .damping = common.damping,
                                       // A pair is made for its cache to be handed over.
                                       .smooth_cache = common.smooth_kv.value_or(true),
                                       .scale_type = scale_type}));
    targets.push_back(
        {.recipe = std::move(recipe), .out = fs::path(common.out) / folder, .bits = bits});
    return absl::OkStatus();
  };
  BATON_RETURN_IF_ERROR(
      add(options.prefill_scheme, options.prefill_algorithm, options.prefill_bits, "prefill"));
  BATON_RETURN_IF_ERROR(
      add(decode_scheme, options.decode_algorithm, options.decode_bits, "decode"));
  return Run(common, std::move(targets));
}

}  // namespace baton
