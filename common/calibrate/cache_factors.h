#pragma once

#include <vector>

#include "common/calibrate/float_layer.h"
#include "common/calibrate/layer_pass.h"
#include "common/model/digest.h"

namespace baton {

// Smoothing of the KV cache (SmoothAttention of QoQ, Lin et al., 2024, section 4.2, and its like
// for V): every channel of K is divided by a factor that Q is multiplied with, every channel of V
// by one that the output projection is multiplied with. Channels of equal range lose less when a
// token's head is rounded to few bits. Folded into the projections it costs nothing to serve. The
// rotation of RoPE mixes channels i and i + head_dim / 2, so they share a factor.
//
// The factors change what the cache holds: two checkpoints of one base may exchange a cache only
// with the same factors.
struct CacheFactors {
  std::vector<float> k;  // [kv_heads · head_dim], what K is divided by
  std::vector<float> v;  // likewise for V
  // What rounding the cache to int4 costs at the output of attention, relative: before and after.
  double k_plain = 0, k_error = 0;
  double v_plain = 0, v_error = 0;
};

// Searches the exponent of each KV head's factors, amax^α for α from 0 (no smoothing) to 1, for the
// least error of the layer's attention output, through the output projection, with the cache
// rounded to int4. `seen`: attention inputs of some sequences. With norms on heads (q_norm, k_norm)
// all heads share their K factors, for so does the norm's weight.
CacheFactors SearchCacheFactors(const LayerPass& pass, const FloatLayer& layer,
                                const SeenAttention& seen, int64_t sequences,
                                const Parallel& parallel);

// Leaves the layer's function as it is, up to fp32 rounding.
void FoldCacheFactors(const ModelConfig& config, const CacheFactors& factors, FloatLayer& layer);

// Of the factors of all layers.
Digest DigestOfFactors(const std::vector<CacheFactors>& factors);

}  // namespace baton
