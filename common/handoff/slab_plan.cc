#include "common/handoff/slab_plan.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace {

// The largest n in [1, limit] for which a slab of n units fits; 0 when one does not. Sizes grow
// with n.
template <typename Fits>
uint32_t Largest(uint32_t limit, Fits fits) {
  uint32_t low = 0, high = limit;
  while (low < high) {
    const uint32_t middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// The number of units per part when `total` is cut into as few parts as `largest` allows, of about
// equal size.
uint32_t Even(uint32_t total, uint32_t largest) {
  const uint32_t parts = (total + largest - 1) / largest;
  return (total + parts - 1) / parts;
}

}  // namespace

uint64_t SlabBytes(const kernels::SlabRange& range, kernels::KvFormats wire, int head_dim) {
  const auto layout = kernels::SlabLayout::Make(range, wire, head_dim);
  BATON_CHECK(layout.has_value());
  return kernels::SlabHeader::kBytes + layout->payload_bytes();
}

absl::StatusOr<std::vector<kernels::SlabRange>> PlanSlabs(const kernels::KvGeometry& geometry,
                                                          kernels::KvFormats wire,
                                                          uint32_t first_token, uint32_t end_token,
                                                          uint64_t max_slab_bytes) {
  std::vector<kernels::SlabRange> slabs;
  if (first_token >= end_token) return slabs;
  const auto all_layers = static_cast<uint32_t>(geometry.layers);
  const auto all_heads = static_cast<uint32_t>(geometry.kv_heads);
  const uint32_t all_tokens = end_token - first_token;
  const auto fits = [&](uint32_t layers, uint32_t heads, uint32_t tokens) {
    return SlabBytes({0, layers, 0, heads, 0, tokens}, wire, geometry.head_dim) <= max_slab_bytes;
  };
  uint32_t layers = Largest(all_layers, [&](uint32_t n) { return fits(n, all_heads, all_tokens); });
  uint32_t tokens = all_tokens, heads = all_heads;
  if (layers == 0) {
    layers = 1;
    tokens = Largest(all_tokens, [&](uint32_t n) { return fits(1, all_heads, n); });
  }
  if (tokens == 0) {
    tokens = 1;
    heads = Largest(all_heads, [&](uint32_t n) { return fits(1, n, 1); });
  }
  if (heads == 0) {
    return InvalidArgument("max_slab_bytes: {}, expected at least {} (one token of one head)",
                           max_slab_bytes, SlabBytes({0, 1, 0, 1, 0, 1}, wire, geometry.head_dim));
  }
  layers = Even(all_layers, layers);
  tokens = Even(all_tokens, tokens);
  heads = Even(all_heads, heads);
  for (uint32_t t = first_token; t < end_token; t += tokens) {
    for (uint32_t l = 0; l < all_layers; l += layers) {
      for (uint32_t h = 0; h < all_heads; h += heads) {
        slabs.push_back({l, std::min(l + layers, all_layers), h, std::min(h + heads, all_heads), t,
                         std::min(t + tokens, end_token)});
      }
    }
  }
  return slabs;
}

}  // namespace baton
