#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quantize/fp8.h"
#include "kernels/quantize/quantize.h"

namespace baton::kernels {
namespace {

void QuantizeRow(const QuantizeParams& p, int64_t row) {
  const float* x = p.x + row * p.ldx;
  int8_t* codes = p.out.codes + row * p.out.stride;
  int32_t* sums = p.out.sums + row * (p.out.stride / kActivationBlock);
  float amax = 0.0f;
  bool finite = true;
  for (int64_t k = 0; k < p.k; ++k) {
    amax = std::max(amax, std::fabs(x[k]));
    finite = finite && std::isfinite(x[k]);
  }
  const float scale = finite ? amax / 127.0f : std::numeric_limits<float>::quiet_NaN();
  p.out.scale[row] = scale;
  for (int64_t block = 0; block * kActivationBlock < p.k; ++block) {
    sums[block] = block == 0 ? 0 : sums[block - 1];
    for (int64_t i = 0; i < kActivationBlock; ++i) {
      const int64_t k = block * kActivationBlock + i;
      // A scale that underflowed to 0 belongs to values of no weight: codes 0, as for zeros.
      const bool has_code = finite && scale > 0.0f && k < p.k;
      const float code = has_code ? std::clamp(std::rint(x[k] / scale), -127.0f, 127.0f) : 0.0f;
      codes[k] = static_cast<int8_t>(code);
      sums[block] += codes[k];
    }
  }
}

void EncodeRow(const QuantizeParams& p, int64_t row) {
  int8_t* codes = p.out.codes + row * p.out.stride;
  std::fill(codes + p.k, codes + PaddedActivations(p.k), int8_t{0});
  QuantizeRowsFp8Reference({.x = p.x + row * p.ldx,
                            .m = 1,
                            .k = p.k,
                            .ldx = p.ldx,
                            .codes = reinterpret_cast<uint8_t*>(codes),
                            .scale = p.out.scale + row});
}

}  // namespace

void QuantizeRowsReference(const QuantizeParams& params) {
  const bool fp8 = params.code == ActivationCode::kE4m3;
  for (int64_t row = 0; row < params.m; ++row) {
    fp8 ? EncodeRow(params, row) : QuantizeRow(params, row);
  }
}

}  // namespace baton::kernels
