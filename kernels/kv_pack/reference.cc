#include <cstring>
#include <vector>

#include "kernels/kv_pack/kv_pack.h"
#include "kernels/kv_page/kv_codec.h"

namespace baton::kernels {
namespace {

struct Group {
  std::byte* codes;
  std::byte* scale;
};

Group InPage(const PagedKv& kv, const int32_t* pages, uint32_t layer, KvTensor tensor,
             uint32_t head, uint32_t token) {
  const KvPageLayout& layout = kv.layout;
  std::byte* page = kv.Page(pages[token / layout.page_tokens()]);
  const int in_page = static_cast<int>(token) % layout.page_tokens();
  return {
      page + layout.CodeOffset(static_cast<int>(layer), tensor, static_cast<int>(head), in_page),
      page + layout.ScaleOffset(static_cast<int>(layer), tensor, static_cast<int>(head), in_page)};
}

// Payload offsets of one group: layer, head and token count from the range's start.
struct Offsets {
  uint64_t codes;
  uint64_t scale;
};

Offsets InSlab(const SlabLayout& slab, uint32_t layer, KvTensor tensor, uint32_t head,
               uint32_t token) {
  const uint64_t group = uint64_t{head} * slab.tokens() + token;
  return {
      slab.CodeSection(layer, tensor) + group * KvCodeBytes(slab.format(tensor), slab.head_dim()),
      slab.ScaleSection(layer, tensor) + group * KvScaleBytes(slab.format(tensor))};
}

void CopyGroup(KvFormat from, const std::byte* codes, const std::byte* scale, KvFormat to,
               std::byte* out_codes, std::byte* out_scale, int head_dim) {
  if (from == to) {
    std::memcpy(out_codes, codes, KvCodeBytes(from, head_dim));
    std::memcpy(out_scale, scale, KvScaleBytes(from));
    return;
  }
  std::vector<float> x(head_dim);
  DecodeKvGroup(from, codes, scale, head_dim, x.data());
  EncodeKvGroup(to, x.data(), head_dim, out_codes, out_scale);
}

template <class Function>
void ForEachGroup(const SlabRange& range, Function&& function) {
  for (uint32_t layer = range.l0; layer < range.l1; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (uint32_t head = range.h0; head < range.h1; ++head) {
        for (uint32_t token = range.t0; token < range.t1; ++token) {
          function(layer, tensor, head, token);
        }
      }
    }
  }
}

}  // namespace

uint64_t PackReference(const PackParams& params) {
  const SlabRange& range = params.range;
  std::memset(params.payload, 0, params.layout.payload_bytes());
  ForEachGroup(range, [&](uint32_t layer, KvTensor tensor, uint32_t head, uint32_t token) {
    const Group page = InPage(params.source, params.pages, layer, tensor, head, token);
    const Offsets slab =
        InSlab(params.layout, layer - range.l0, tensor, head - range.h0, token - range.t0);
    CopyGroup(params.source.layout.format(tensor), page.codes, page.scale,
              params.layout.format(tensor), params.payload + slab.codes,
              params.payload + slab.scale, params.layout.head_dim());
  });
  return PayloadChecksum({params.payload, params.layout.payload_bytes()});
}

uint64_t ScatterReference(const ScatterParams& params) {
  const SlabRange& range = params.range;
  ForEachGroup(range, [&](uint32_t layer, KvTensor tensor, uint32_t head, uint32_t token) {
    const Group page = InPage(params.target, params.pages, layer, tensor, head, token);
    const Offsets slab =
        InSlab(params.layout, layer - range.l0, tensor, head - range.h0, token - range.t0);
    CopyGroup(params.layout.format(tensor), params.payload + slab.codes,
              params.payload + slab.scale, params.target.layout.format(tensor), page.codes,
              page.scale, params.layout.head_dim());
  });
  return PayloadChecksum({params.payload, params.layout.payload_bytes()});
}

}  // namespace baton::kernels
