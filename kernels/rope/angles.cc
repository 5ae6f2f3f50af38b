#include <cmath>

#include "kernels/numeric/partition.h"
#include "kernels/rope/rope.h"

namespace baton::kernels {

void RopeAngles(const RopeAnglesParams& params, int part, int parts) {
  const Range rows = Partition(params.rows, part, parts);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float position = static_cast<float>(params.positions[row]);
    for (int i = 0; i < params.pairs; ++i) {
      const float angle = position * params.inv_freq[i];
      params.cos[row * params.pairs + i] = std::cos(angle) * params.magnitude;
      params.sin[row * params.pairs + i] = std::sin(angle) * params.magnitude;
    }
  }
}

}  // namespace baton::kernels
