// Many numbers from one storage type to another, at load.
#pragma once

#include <cstdint>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels {

// `count` numbers at `from`, of type `from_type`, to `to`, as `to_type`; neither needs to be
// aligned and they do not overlap. The bits are those of formats.h on every vector target: a
// number is widened exactly and rounded once. The same type is copied, so that infinities and NaN
// payloads survive.
void ConvertFloats(const void* from, ScalarType from_type, int64_t count, ScalarType to_type,
                   void* to);

}  // namespace baton::kernels
