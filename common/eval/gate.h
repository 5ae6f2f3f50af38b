#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/eval/matrix.h"

namespace baton {

// Which cells of a matrix; "*" stands for every value.
struct CellSelector {
  std::string prefill = "*";
  std::string kv = "*";
  std::string decode = "*";
};

// What cells must hold. Where a figure has an interval, its worse end must hold.
struct GateBound {
  std::string name;
  CellSelector cells;
  std::optional<double> max_increase_percent;  // of the perplexity over `over`, upper end
  std::optional<CellSelector> over;            // one cell; absent: the reference
  // The increase over the reference is at most this share of that of `ratio_to` (one cell).
  std::optional<double> max_increase_ratio;
  std::optional<CellSelector> ratio_to;
  std::optional<double> max_kl;         // nats, upper end
  std::optional<double> min_agreement;  // share, lower end
};

// {"bounds": [{"name": …, "prefill": "w8a8", "kv": "int8", "decode": "w4a16",
//   "max_increase_percent": 5, "over": {"prefill": …, "kv": …, "decode": …}, …}]}
// INVALID_ARGUMENT names the field: an unknown one, a bound without a limit, no bounds.
absl::StatusOr<std::vector<GateBound>> ParseGate(std::string_view json);

// Every bound that is broken, in words: the bound's name, the cell, the value and the limit. A
// bound of cells that were not evaluated is broken: a gate never passes for lack of a measurement.
std::vector<std::string> CheckGate(const std::vector<GateBound>& bounds,
                                   const AccuracyMatrix& matrix);

}  // namespace baton
