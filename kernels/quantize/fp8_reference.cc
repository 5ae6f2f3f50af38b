#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/numeric/formats.h"
#include "kernels/quantize/fp8.h"

namespace baton::kernels {

void QuantizeRowsFp8Reference(const QuantizeFp8Params& params) {
  for (int64_t row = 0; row < params.m; ++row) {
    const float* x = params.x + row * params.ldx;
    uint8_t* codes = params.codes + row * params.k;
    float amax = 0.0f;
    bool finite = true;
    for (int64_t k = 0; k < params.k; ++k) {
      amax = std::max(amax, std::fabs(x[k]));
      finite = finite && std::isfinite(x[k]);
    }
    const float scale = finite ? amax / 448.0f : std::numeric_limits<float>::quiet_NaN();
    params.scale[row] = scale;
    for (int64_t k = 0; k < params.k; ++k) {
      // A scale that underflowed to 0 belongs to values of no weight: codes 0, as for zeros.
      codes[k] = finite && scale > 0.0f ? E4m3FromFloat(x[k] / scale) : uint8_t{0};
    }
  }
}

}  // namespace baton::kernels
