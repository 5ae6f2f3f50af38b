// A pool of pages with the strides written out, as kernels on a device want them: plain numbers, no
// calls. Plain C++; the host makes it from a layout.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/kv_page/layout.h"

namespace baton::kernels {

// K or V of one layer: group (head, token in page) has its codes at
// code_start + (head * page_tokens + token) * code_bytes of the page, its scale data likewise.
struct KvPlaneView {
  uint64_t code_start = 0;
  uint64_t scale_start = 0;
  uint32_t code_bytes = 0;   // of one group
  uint32_t scale_bytes = 0;  // of one group: 0, 2 or 4
  KvFormat format = KvFormat::kFp16;
};

// One layer of a pool.
struct PagedKvView {
  std::byte* pool = nullptr;  // page p starts at pool + p * page_bytes
  uint64_t page_bytes = 0;
  int32_t page_shift = 0;  // log2 of the tokens in a page
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  KvPlaneView plane[2];  // by KvTensor

  constexpr int32_t page_tokens() const { return int32_t{1} << page_shift; }
};

inline PagedKvView ViewOf(const PagedKv& kv, int layer) {
  const KvPageLayout& layout = kv.layout;
  PagedKvView view{.pool = kv.pool,
                   .page_bytes = layout.page_bytes(),
                   .page_shift = std::countr_zero(static_cast<unsigned>(layout.page_tokens())),
                   .kv_heads = layout.geometry().kv_heads,
                   .head_dim = layout.geometry().head_dim};
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    view.plane[static_cast<int>(tensor)] = {
        .code_start = layout.CodeOffset(layer, tensor, 0, 0),
        .scale_start = layout.ScaleOffset(layer, tensor, 0, 0),
        .code_bytes = static_cast<uint32_t>(layout.code_bytes(tensor)),
        .scale_bytes = static_cast<uint32_t>(layout.scale_bytes(tensor)),
        .format = layout.format(tensor)};
  }
  return view;
}

}  // namespace baton::kernels
