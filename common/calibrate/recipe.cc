#include "common/calibrate/recipe.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr int kDefaultGroup = 128;

struct SchemeRow {
  std::string_view name;
  int bits;
  CodeKind kind;
  std::optional<CodeKind> activations;
  bool smooth_cache;
  std::string_view algorithm;  // what "auto" means
};

constexpr std::array kSchemes = {
    SchemeRow{"w8a8", 8, CodeKind::kInt, CodeKind::kInt, false, "smoothquant+gptq"},
    SchemeRow{"w8a8-fp8", 8, CodeKind::kFp8, CodeKind::kFp8, false, "gptq"},
    SchemeRow{"w4a16", 4, CodeKind::kInt, std::nullopt, false, "gptq"},
    SchemeRow{"w4a8", 4, CodeKind::kInt, CodeKind::kInt, false, "gptq"},
    SchemeRow{"w4a8kv4", 4, CodeKind::kInt, CodeKind::kInt, true, "gptq"},
};

struct AlgorithmRow {
  std::string_view name;
  Rounding rounding;
  bool smooth;  // SmoothQuant's rule
  bool awq;     // AWQ's rules
  bool int4_only;
};

constexpr std::array kAlgorithms = {
    AlgorithmRow{"rtn", Rounding::kNearest, false, false, false},
    AlgorithmRow{"gptq", Rounding::kGptq, false, false, false},
    AlgorithmRow{"awq", Rounding::kNearest, false, true, false},
    AlgorithmRow{"awq+gptq", Rounding::kGptq, false, true, false},
    AlgorithmRow{"smoothquant", Rounding::kNearest, true, false, false},
    AlgorithmRow{"smoothquant+gptq", Rounding::kGptq, true, false, false},
    AlgorithmRow{"hqq", Rounding::kHalfQuadratic, false, false, true},
    AlgorithmRow{"qoq", Rounding::kProgressive, false, false, true},
};

template <typename Rows>
std::string NamesOf(const Rows& rows) {
  std::vector<std::string_view> names;
  for (const auto& row : rows) names.push_back(row.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

absl::Status CheckOptions(const RecipeOptions& o) {
  if (o.group && *o.group != 0 && (*o.group < 32 || *o.group % 32 != 0)) {
    return InvalidArgument("group: {}, expected 0 (per channel) or a multiple of 32", *o.group);
  }
  if (o.alpha && !(*o.alpha >= 0 && *o.alpha <= 1)) {
    return InvalidArgument("alpha: {}, expected 0 to 1", *o.alpha);
  }
  if (o.damping && !(*o.damping > 0 && *o.damping <= 1)) {
    return InvalidArgument("damping: {}, expected above 0 and up to 1", *o.damping);
  }
  return absl::OkStatus();
}

absl::StatusOr<AlgorithmRow> FindAlgorithm(std::string_view name) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.name == name) return row;
  }
  if (name == "nf4") {
    return Unimplemented(
        "algorithm: 'nf4' has a codebook, which the compressed-tensors layout cannot hold; it is "
        "in "
        "the library only (common/quant/algorithms/codebook.h); expected auto, {}",
        KnownAlgorithms());
  }
  if (name == "llm.int8" || name == "llm_int8") {
    return Unimplemented(
        "algorithm: '{}' splits each product by its inputs, which no file can say; it is in the "
        "library only (common/quant/algorithms/outliers.h); expected auto, {}",
        name, KnownAlgorithms());
  }
  return InvalidArgument("algorithm: '{}', expected auto, {}", name, KnownAlgorithms());
}

absl::Status CheckFit(const SchemeRow& scheme, const AlgorithmRow& algorithm,
                      const RecipeOptions& o) {
  if (algorithm.int4_only && scheme.bits != 4) {
    return Unimplemented("algorithm: '{}' with scheme '{}', expected a scheme of 4-bit weights",
                         algorithm.name, scheme.name);
  }
  if (scheme.bits != 4 && (o.group || o.symmetric)) {
    return InvalidArgument("{}: given for scheme '{}', expected a scheme of 4-bit weights",
                           o.group ? "group" : "symmetric", scheme.name);
  }
  if (algorithm.int4_only && (o.symmetric.value_or(false) || o.group.value_or(128) == 0)) {
    return InvalidArgument("algorithm: '{}', expected asymmetric groups with it", algorithm.name);
  }
  if (o.alpha && !algorithm.smooth && !algorithm.awq) {
    return InvalidArgument("alpha: {}, expected with an algorithm that scales (awq, smoothquant)",
                           *o.alpha);
  }
  if (o.damping && algorithm.rounding != Rounding::kGptq) {
    return InvalidArgument("damping: {}, expected with an algorithm of GPTQ", *o.damping);
  }
  return absl::OkStatus();
}

CodeSpec WeightsOf(const SchemeRow& scheme, const RecipeOptions& o) {
  CodeSpec spec{.kind = scheme.kind, .bits = scheme.bits, .scale_type = o.scale_type};
  if (scheme.bits == 4) {
    spec.symmetric = o.symmetric.value_or(false);
    spec.group = o.group.value_or(kDefaultGroup);
  }
  return spec;
}

std::string_view NameOf(kernels::ScalarType type) {
  switch (type) {
    case kernels::ScalarType::kFp32:
      return "fp32";
    case kernels::ScalarType::kFp16:
      return "fp16";
    case kernels::ScalarType::kBf16:
      return "bf16";
  }
  return "";
}

}  // namespace

std::string KnownSchemes() { return NamesOf(kSchemes); }
std::string KnownAlgorithms() { return NamesOf(kAlgorithms); }

absl::StatusOr<Recipe> MakeRecipe(const RecipeOptions& options) {
  BATON_RETURN_IF_ERROR(CheckOptions(options));
  const auto scheme = std::find_if(kSchemes.begin(), kSchemes.end(), [&](const SchemeRow& row) {
    return row.name == options.scheme;
  });
  if (scheme == kSchemes.end()) {
    return InvalidArgument("scheme: '{}', expected {}", options.scheme, KnownSchemes());
  }
  BATON_ASSIGN_OR_RETURN(
      const AlgorithmRow algorithm,
      FindAlgorithm(options.algorithm == "auto" ? scheme->algorithm : options.algorithm));
  BATON_RETURN_IF_ERROR(CheckFit(*scheme, algorithm, options));
  Recipe recipe;
  recipe.scheme = scheme->name;
  recipe.algorithm = algorithm.name;
  recipe.weights = WeightsOf(*scheme, options);
  recipe.activations = scheme->activations;
  recipe.upgrade = {.keep = scheme->bits == 8, .spec = recipe.weights};
  if (scheme->bits == 4) {
    recipe.upgrade.spec = {.bits = 8, .scale_type = options.scale_type};
    recipe.upgrade.activations = scheme->activations;
  }
  recipe.rounding = algorithm.rounding;
  recipe.gptq.damping = options.damping.value_or(recipe.gptq.damping);
  if (scheme->bits == 4) {
    recipe.gptq.range.search = RangeSearch::kError;
    if (algorithm.awq && algorithm.rounding == Rounding::kNearest) {
      recipe.range = {.search = RangeSearch::kOutput, .max_shrink = 0.5f, .steps = 20};
    }
  }
  if (algorithm.smooth) recipe.fold_rules = {FoldRule::kSmoothQuant};
  if (algorithm.smooth && !options.alpha) recipe.fold_rules.push_back(FoldRule::kFourthMoment);
  if (algorithm.awq) recipe.fold_rules = {FoldRule::kAwq};
  recipe.fold_norms = recipe.fold_down = !recipe.fold_rules.empty();
  if (options.alpha) recipe.fold_alphas = {*options.alpha};
  recipe.smooth_cache = options.smooth_cache.value_or(scheme->smooth_cache);
  return recipe;
}

bool Recipe::NeedsText() const {
  return rounding == Rounding::kGptq || fold_norms || fold_down || smooth_cache ||
         range.search == RangeSearch::kOutput;
}

std::string Recipe::Description() const {
  std::vector<std::string_view> folds;
  for (const FoldRule rule : fold_rules) folds.push_back(baton::NameOf(rule));
  return fmt::format(
      "scheme={} algorithm={} group={} symmetric={} scales={} damping={} range={}:{}:{} refits={} "
      "sweeps={} folds=[{}] alphas=[{}] smooth_cache={}",
      scheme, algorithm, weights.group, weights.symmetric, NameOf(weights.scale_type), gptq.damping,
      static_cast<int>(gptq.range.search), gptq.range.max_shrink, gptq.range.steps, gptq.refits,
      gptq.sweeps, fmt::join(folds, ","), fmt::join(fold_alphas, ","), smooth_cache);
}

}  // namespace baton
