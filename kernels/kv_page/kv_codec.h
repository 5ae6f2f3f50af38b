#pragma once

#include <cstddef>

#include "kernels/kv_page/kv_format.h"

namespace baton::kernels {

// The scalar definition of one scale group (numbers.md "KV formats"); vector code (kv_codec-inl.h)
// gives the same bits.

// Rounds `head_dim` values to `format`: KvCodeBytes bytes to `codes`, KvScaleBytes bytes to `scale`
// (which may be null where the format has none). A group with a NaN or an infinity becomes NaN as a
// whole in the scaled formats; the others saturate infinities and keep NaN.
void EncodeKvGroup(KvFormat format, const float* x, int head_dim, std::byte* codes,
                   std::byte* scale);

// The values that attention sees.
void DecodeKvGroup(KvFormat format, const std::byte* codes, const std::byte* scale, int head_dim,
                   float* x);

// Scale of a symmetric group: fp16(amax / limit), never zero unless amax is.
uint16_t KvSymmetricScale(float amax, float limit);
// Scale and minimum of an int4 group of finite values.
struct KvInt4Scale {
  uint16_t s = 0;
  uint16_t m = 0;
};
KvInt4Scale KvAffineScale(float min, float max);

}  // namespace baton::kernels
