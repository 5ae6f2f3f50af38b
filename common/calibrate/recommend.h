#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/calibrate/survey.h"
#include "common/model/checkpoint.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// What one scheme costs a decode worker.
struct SchemeCost {
  std::string scheme;
  double microseconds = 0;  // all linear layers of one decoder layer, measured on this machine
  double error = 0;         // of weights and inputs, as UnitCost, mean over the linear layers
};

// Group-wise or channel-wise, by the number of sequences that are decoded together: few sequences
// are bound by reading weights, which 4-bit groups make small; many by multiplying, which INT8 per
// channel does with the fewest steps. Measures w4a16, w4a8 and w8a8 with this machine's CPU kernels
// for `batch` rows. `survey`: embedded sequences for the errors.
std::vector<SchemeCost> MeasureSchemes(const Checkpoint& checkpoint, int64_t batch, LayerPass& pass,
                                       const Matrix& survey, const Parallel& parallel);

// The fastest; or the one of least error among those at most 10 % slower than it.
const SchemeCost& Recommended(const std::vector<SchemeCost>& costs);

}  // namespace baton
