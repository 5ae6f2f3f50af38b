#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/calibrate/calibration_text.h"
#include "common/calibrate/recipe.h"
#include "common/calibrate/report.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// One checkpoint to make.
struct QuantizeTarget {
  Recipe recipe;
  std::filesystem::path out;   // must not hold a model yet
  std::optional<double> bits;  // budget per weight of the linear layers; absent: all alike
};

struct QuantizeProgress {
  int done = 0;  // layers, over all targets
  int total = 0;
  double seconds = 0;       // since the start
  double seconds_left = 0;  // by the layers made so far; 0 while unknown
};

struct QuantizeModelOptions {
  std::filesystem::path model;
  std::vector<QuantizeTarget> targets;
  CalibrationTokens calibration;  // may be empty for recipes that need no text
  bool resume = false;
  std::function<void(const QuantizeProgress&)> progress;  // may be empty
};

struct QuantizeModelReport {
  std::filesystem::path out;
  std::vector<LayerReport> layers;  // of this run; layers kept from an interrupted one are absent
  int layers_kept = 0;
  double bits_per_weight = 0;    // of this run's linear layers, scales included
  double cache_error_plain = 0;  // int4 cache: relative error at attention's output, mean over
  double cache_error = 0;        // layers, before and after smoothing; 0 without
};

// Makes all targets in one pass over the calibration tokens, layer by layer: in memory are one
// layer, its statistics, and the residual streams (one of every target over all sequences, one of
// the unquantized model over a few). The last eight sequences only judge. Each finished layer is a
// file on disk; with `resume` those of an interrupted run of the same recipe are kept.
// All targets must agree on smoothing the cache, for a pair exchanges it. Errors name path or
// field.
absl::StatusOr<std::vector<QuantizeModelReport>> QuantizeModel(const QuantizeModelOptions& options,
                                                               const Parallel& parallel);

}  // namespace baton
