#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_pack/slab.h"
#include "kernels/kv_page/layout.h"

namespace baton::kernels {

// Pages -> payload of one slab. Codes are copied where the wire format equals the resident one,
// else every group is dequantized and requantized. Padding is written as zero.
struct PackParams {
  PagedKv source;
  const int32_t* pages = nullptr;  // page table of the sequence; covers tokens [0, range.t1)
  SlabRange range;                 // within the source's geometry
  SlabLayout layout;               // SlabLayout::Make(range, wire formats, head_dim)
  std::byte* payload = nullptr;    // layout.payload_bytes(), 8-byte aligned
};

// Payload of one slab -> pages, the inverse of Pack. The payload comes from a peer: any bytes are
// legal (they give some values); range and size were checked by the caller (DecodeSlabHeader,
// reservation). Only the named groups are written.
struct ScatterParams {
  const std::byte* payload = nullptr;  // layout.payload_bytes(), 8-byte aligned
  SlabRange range;
  SlabLayout layout;
  PagedKv target;
  const int32_t* pages = nullptr;  // covers tokens [0, range.t1)
};

// Each returns the part's contribution to PayloadChecksum over the payload, computed in the same
// pass: the sum over all parts is the payload's checksum. Stateless; parts may run concurrently.
uint64_t PackReference(const PackParams& params);
uint64_t PackCpu(const PackParams& params, int part, int parts);
uint64_t ScatterReference(const ScatterParams& params);
uint64_t ScatterCpu(const ScatterParams& params, int part, int parts);

}  // namespace baton::kernels
