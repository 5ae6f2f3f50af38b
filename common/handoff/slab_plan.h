#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kv_pack/slab.h"
#include "kernels/kv_page/kv_format.h"
#include "kernels/kv_page/layout.h"

namespace baton {

// Header and payload of one slab.
uint64_t SlabBytes(const kernels::SlabRange& range, kernels::KvFormats wire, int head_dim);

// Divides [all layers) x [all heads) x [first_token, end_token) into slabs of at most
// `max_slab_bytes` each (header and payload), as few as whole groups of layers allow: a slab is cut
// by layers first, then by tokens, then by heads. INVALID_ARGUMENT when not even one token of one
// head of one layer fits.
absl::StatusOr<std::vector<kernels::SlabRange>> PlanSlabs(const kernels::KvGeometry& geometry,
                                                          kernels::KvFormats wire,
                                                          uint32_t first_token, uint32_t end_token,
                                                          uint64_t max_slab_bytes);

}  // namespace baton
