#include "common/eval/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/status.h"
#include "common/eval/summary.h"
#include "common/model/json.h"

namespace baton {
namespace {

template <size_t N>
absl::Status OnlyKnown(const nlohmann::json& object, const std::string& prefix,
                       const std::array<std::string_view, N>& known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return InvalidArgument("{}{}: not a field of a gate file", prefix, key.substr(0, 64));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CellSelector> ParseSelector(const JsonFields& fields, bool one_cell) {
  CellSelector selector;
  BATON_ASSIGN_OR_RETURN(selector.prefill, fields.String("prefill", "*"));
  BATON_ASSIGN_OR_RETURN(selector.kv, fields.String("kv", "*"));
  BATON_ASSIGN_OR_RETURN(selector.decode, fields.String("decode", "*"));
  if (one_cell && (selector.prefill == "*" || selector.kv == "*" || selector.decode == "*")) {
    return InvalidArgument("{}prefill, kv, decode: expected the names of one cell",
                           fields.prefix());
  }
  return selector;
}

absl::StatusOr<std::optional<double>> Limit(const JsonFields& fields, std::string_view name,
                                            double min, double max) {
  if (!fields.Has(name)) return std::optional<double>();
  BATON_ASSIGN_OR_RETURN(const double value, fields.Number(name, min, max));
  return std::optional<double>(value);
}

absl::StatusOr<std::optional<CellSelector>> OtherCell(const JsonFields& fields,
                                                      std::string_view name) {
  constexpr std::array<std::string_view, 3> kFields = {"prefill", "kv", "decode"};
  if (!fields.Has(name)) return std::optional<CellSelector>();
  BATON_ASSIGN_OR_RETURN(const JsonFields object, fields.Object(name));
  BATON_RETURN_IF_ERROR(OnlyKnown(*fields.Find(name), object.prefix(), kFields));
  BATON_ASSIGN_OR_RETURN(CellSelector selector, ParseSelector(object, true));
  return std::optional<CellSelector>(std::move(selector));
}

absl::StatusOr<GateBound> ParseBound(const nlohmann::json& object, const std::string& prefix) {
  constexpr std::array<std::string_view, 10> kFields = {"name",
                                                        "prefill",
                                                        "kv",
                                                        "decode",
                                                        "max_increase_percent",
                                                        "over",
                                                        "max_increase_ratio",
                                                        "ratio_to",
                                                        "max_kl",
                                                        "min_agreement"};
  if (!object.is_object()) return InvalidArgument("{}: expected an object", prefix);
  const JsonFields fields(object, prefix + ".");
  BATON_RETURN_IF_ERROR(OnlyKnown(object, fields.prefix(), kFields));
  GateBound bound;
  BATON_ASSIGN_OR_RETURN(bound.name, fields.String("name", prefix));
  BATON_ASSIGN_OR_RETURN(bound.cells, ParseSelector(fields, false));
  BATON_ASSIGN_OR_RETURN(bound.max_increase_percent,
                         Limit(fields, "max_increase_percent", -100, 1e6));
  BATON_ASSIGN_OR_RETURN(bound.over, OtherCell(fields, "over"));
  BATON_ASSIGN_OR_RETURN(bound.max_increase_ratio, Limit(fields, "max_increase_ratio", 0, 1e6));
  BATON_ASSIGN_OR_RETURN(bound.ratio_to, OtherCell(fields, "ratio_to"));
  BATON_ASSIGN_OR_RETURN(bound.max_kl, Limit(fields, "max_kl", 0, 1e6));
  BATON_ASSIGN_OR_RETURN(bound.min_agreement, Limit(fields, "min_agreement", 0, 1));
  if (!bound.max_increase_percent && !bound.max_increase_ratio && !bound.max_kl &&
      !bound.min_agreement) {
    return InvalidArgument(
        "{}: no limit, expected max_increase_percent, max_increase_ratio, max_kl or min_agreement",
        prefix);
  }
  if (bound.over && !bound.max_increase_percent) {
    return InvalidArgument("{}.over: given without max_increase_percent", prefix);
  }
  if (bound.max_increase_ratio.has_value() != bound.ratio_to.has_value()) {
    return InvalidArgument("{}: expected max_increase_ratio and ratio_to together", prefix);
  }
  return bound;
}

bool Matches(const CellSelector& selector, const MatrixCell& cell) {
  const auto same = [](const std::string& wanted, const std::string& value) {
    return wanted == "*" || wanted == value;
  };
  return same(selector.prefill, cell.prefill) && same(selector.kv, cell.kv) &&
         same(selector.decode, cell.decode);
}

std::string Name(const std::string& prefill, const std::string& kv, const std::string& decode) {
  return fmt::format("{} → {} → {}", prefill, kv, decode);
}

// Checks the bounds of one matrix, collecting what is broken.
class Check {
 public:
  explicit Check(const AccuracyMatrix& matrix) : matrix_(matrix) {}

  void Bound(const GateBound& bound) {
    bool any = false;
    for (const MatrixCell& cell : matrix_.cells) {
      if (!Matches(bound.cells, cell)) continue;
      any = true;
      Cell(bound, cell);
    }
    if (!any) {
      broken.push_back(fmt::format("{}: no cell {} was evaluated", bound.name,
                                   Name(bound.cells.prefill, bound.cells.kv, bound.cells.decode)));
    }
  }

  std::vector<std::string> broken;

 private:
  void Cell(const GateBound& bound, const MatrixCell& cell) {
    const PairSummary summary = Summarize(cell.scores, matrix_.reference_scores);
    if (bound.max_increase_percent) {
      const PairScores* over = &matrix_.reference_scores;
      if (bound.over) over = Find(bound, *bound.over);
      if (over != nullptr) {
        const Interval increase = PerplexityIncrease(cell.scores.window_nll, over->window_nll);
        AtMost(bound, cell, "perplexity increase, percent", 100 * increase.mean,
               100 * increase.high, *bound.max_increase_percent);
      }
    }
    if (bound.max_increase_ratio) {
      if (const PairScores* other = Find(bound, *bound.ratio_to)) {
        const Interval increase =
            PerplexityIncrease(other->window_nll, matrix_.reference_scores.window_nll);
        const double limit = *bound.max_increase_ratio * increase.mean;
        AtMost(bound, cell, "perplexity increase, percent", 100 * summary.increase.mean,
               100 * summary.increase.mean, 100 * limit);
      }
    }
    if (bound.max_kl) {
      AtMost(bound, cell, "KL, nats", summary.kl.mean, summary.kl.high, *bound.max_kl);
    }
    if (bound.min_agreement && !(summary.agreement.low >= *bound.min_agreement)) {
      Broken(bound, cell, "top-1 agreement", summary.agreement.mean, summary.agreement.low,
             "at least", *bound.min_agreement);
    }
  }

  const PairScores* Find(const GateBound& bound, const CellSelector& selector) {
    for (const MatrixCell& cell : matrix_.cells) {
      if (Matches(selector, cell)) return &cell.scores;
    }
    broken.push_back(fmt::format("{}: no cell {} was evaluated to compare with", bound.name,
                                 Name(selector.prefill, selector.kv, selector.decode)));
    return nullptr;
  }

  void AtMost(const GateBound& bound, const MatrixCell& cell, std::string_view what, double value,
              double upper, double limit) {
    // Written so that a value that is not a number breaks the bound.
    if (!(upper <= limit)) Broken(bound, cell, what, value, upper, "at most", limit);
  }

  void Broken(const GateBound& bound, const MatrixCell& cell, std::string_view what, double value,
              double end, std::string_view relation, double limit) {
    broken.push_back(fmt::format(
        "{}: {}: {} {:.4g} (end of the interval {:.4g}), expected {} {:.4g}", bound.name,
        Name(cell.prefill, cell.kv, cell.decode), what, value, end, relation, limit));
  }

  const AccuracyMatrix& matrix_;
};

}  // namespace

absl::StatusOr<std::vector<GateBound>> ParseGate(std::string_view json) {
  constexpr size_t kMaxBounds = 10'000;
  constexpr std::array<std::string_view, 1> kFields = {"bounds"};
  BATON_ASSIGN_OR_RETURN(const nlohmann::json root, ParseJsonObject(json, "gate", JsonLimits{}));
  BATON_RETURN_IF_ERROR(OnlyKnown(root, "gate: ", kFields));
  const auto list = root.find("bounds");
  if (list == root.end() || !list->is_array() || list->empty() || list->size() > kMaxBounds) {
    return InvalidArgument("gate: bounds: expected a list of 1 to {} bounds", kMaxBounds);
  }
  std::vector<GateBound> bounds;
  for (size_t i = 0; i < list->size(); ++i) {
    BATON_ASSIGN_OR_RETURN(GateBound bound,
                           ParseBound((*list)[i], fmt::format("gate: bounds[{}]", i)));
    bounds.push_back(std::move(bound));
  }
  return bounds;
}

std::vector<std::string> CheckGate(const std::vector<GateBound>& bounds,
                                   const AccuracyMatrix& matrix) {
  Check check(matrix);
  for (const GateBound& bound : bounds) check.Bound(bound);
  return std::move(check.broken);
}

}  // namespace baton
