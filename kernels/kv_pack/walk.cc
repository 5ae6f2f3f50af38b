#include "kernels/kv_pack/walk.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/partition.h"
#include "kernels/numeric/require.h"

namespace baton::kernels {
namespace {

// Neighbouring tokens of one head: in one page, and in the slab.
struct Run {
  uint32_t tokens = 0;
  std::byte* page_codes = nullptr;
  std::byte* page_scales = nullptr;
  uint64_t slab_codes = 0;  // offsets in the payload
  uint64_t slab_scales = 0;
};

// One tensor of one layer.
struct Section {
  const PagedKv& kv;
  const int32_t* pages;
  const SlabRange& range;
  const SlabLayout& slab;
  uint32_t layer;  // from range.l0
  KvTensor tensor;

  KvFormat resident() const { return kv.layout.format(tensor); }
  KvFormat wire() const { return slab.format(tensor); }
  bool same_format() const { return resident() == wire(); }
  uint64_t groups() const { return uint64_t{slab.heads()} * slab.tokens(); }
  uint64_t codes_end() const {
    return slab.CodeSection(layer, tensor) + groups() * KvCodeBytes(wire(), slab.head_dim());
  }
  uint64_t scales_begin() const { return slab.ScaleSection(layer, tensor); }
  uint64_t scales_end() const { return scales_begin() + groups() * KvScaleBytes(wire()); }
  uint64_t end() const { return slab.TensorEnd(layer, tensor); }
};

template <class Function>
void ForEachRun(const Section& section, Function&& function) {
  const KvPageLayout& layout = section.kv.layout;
  const uint32_t page_tokens = static_cast<uint32_t>(layout.page_tokens());
  const uint64_t code_bytes = KvCodeBytes(section.wire(), section.slab.head_dim());
  const uint64_t scale_bytes = KvScaleBytes(section.wire());
  const int layer = static_cast<int>(section.range.l0 + section.layer);
  uint64_t group = 0;
  for (uint32_t head = section.range.h0; head < section.range.h1; ++head) {
    for (uint32_t t = section.range.t0; t < section.range.t1;) {
      const uint32_t in_page = t % page_tokens;
      Run run;
      run.tokens = std::min(page_tokens - in_page, section.range.t1 - t);
      std::byte* page = section.kv.Page(section.pages[t / page_tokens]);
      run.page_codes = page + layout.CodeOffset(layer, section.tensor, static_cast<int>(head),
                                                static_cast<int>(in_page));
      run.page_scales = page + layout.ScaleOffset(layer, section.tensor, static_cast<int>(head),
                                                  static_cast<int>(in_page));
      run.slab_codes = section.slab.CodeSection(section.layer, section.tensor) + group * code_bytes;
      run.slab_scales = section.scales_begin() + group * scale_bytes;
      function(run);
      group += run.tokens;
      t += run.tokens;
    }
  }
}

// Decodes and encodes a run; the strides are those of the formats.
void TranscodeRun(const KvTranscoder& transcoder, KvFormat from, KvFormat to, int head_dim,
                  uint32_t tokens, const std::byte* codes, const std::byte* scales,
                  std::byte* out_codes, std::byte* out_scales) {
  float x[KvPageLayout::kMaxHeadDim];
  for (uint32_t i = 0; i < tokens; ++i) {
    transcoder.decode(codes + i * KvCodeBytes(from, head_dim), scales + i * KvScaleBytes(from),
                      head_dim, x);
    transcoder.encode(x, head_dim, out_codes + i * KvCodeBytes(to, head_dim),
                      out_scales + i * KvScaleBytes(to));
  }
}

uint64_t ChecksumBetween(const std::byte* payload, uint64_t begin, uint64_t end) {
  return PayloadChecksum({payload + begin, payload + end}, begin / 8);
}

uint64_t PackSection(const Section& section, const KvTranscoder& transcoder, std::byte* payload) {
  const int head_dim = section.slab.head_dim();
  uint64_t sum = 0;
  ForEachRun(section, [&](const Run& run) {
    std::byte* codes = payload + run.slab_codes;
    std::byte* scales = payload + run.slab_scales;
    const uint64_t code_bytes = run.tokens * KvCodeBytes(section.wire(), head_dim);
    if (section.same_format()) {
      std::memcpy(codes, run.page_codes, code_bytes);
      std::memcpy(scales, run.page_scales, run.tokens * KvScaleBytes(section.wire()));
    } else {
      TranscodeRun(transcoder, section.resident(), section.wire(), head_dim, run.tokens,
                   run.page_codes, run.page_scales, codes, scales);
    }
    sum += ChecksumBetween(payload, run.slab_codes, run.slab_codes + code_bytes);
  });
  std::memset(payload + section.codes_end(), 0, section.scales_begin() - section.codes_end());
  std::memset(payload + section.scales_end(), 0, section.end() - section.scales_end());
  return sum + ChecksumBetween(payload, section.codes_end(), section.end());
}

uint64_t ScatterSection(const Section& section, const KvTranscoder& transcoder,
                        const std::byte* payload) {
  const int head_dim = section.slab.head_dim();
  uint64_t sum = 0;
  ForEachRun(section, [&](const Run& run) {
    const std::byte* codes = payload + run.slab_codes;
    const std::byte* scales = payload + run.slab_scales;
    const uint64_t code_bytes = run.tokens * KvCodeBytes(section.wire(), head_dim);
    sum += ChecksumBetween(payload, run.slab_codes, run.slab_codes + code_bytes);
    if (section.same_format()) {
      std::memcpy(run.page_codes, codes, code_bytes);
      std::memcpy(run.page_scales, scales, run.tokens * KvScaleBytes(section.wire()));
    } else {
      TranscodeRun(transcoder, section.wire(), section.resident(), head_dim, run.tokens, codes,
                   scales, run.page_codes, run.page_scales);
    }
  });
  return sum + ChecksumBetween(payload, section.codes_end(), section.end());
}

// Calls function(section, transcoder) for the part's tensors and adds what it returns.
template <class Function>
uint64_t ForEachSection(const PagedKv& kv, const int32_t* pages, const SlabRange& range,
                        const SlabLayout& slab, const KvTranscoders& transcoders, int part,
                        int parts, Function&& function) {
  const KvGeometry& geometry = kv.layout.geometry();
  BATON_KERNELS_REQUIRE(range.l1 <= static_cast<uint32_t>(geometry.layers));
  BATON_KERNELS_REQUIRE(range.h1 <= static_cast<uint32_t>(geometry.kv_heads));
  BATON_KERNELS_REQUIRE(slab.head_dim() == geometry.head_dim);
  BATON_KERNELS_REQUIRE(slab.layers() == range.l1 - range.l0 &&
                        slab.heads() == range.h1 - range.h0 &&
                        slab.tokens() == range.t1 - range.t0);
  const Range share = Partition(int64_t{slab.layers()} * 2, part, parts);
  uint64_t sum = 0;
  for (int64_t i = share.begin; i < share.end; ++i) {
    const KvTensor tensor = i % 2 == 0 ? KvTensor::kKey : KvTensor::kValue;
    sum += function(Section{kv, pages, range, slab, static_cast<uint32_t>(i / 2), tensor},
                    tensor == KvTensor::kKey ? transcoders.k : transcoders.v);
  }
  return sum;
}

}  // namespace

uint64_t PackWalk(const PackParams& params, const KvTranscoders& transcoders, int part, int parts) {
  return ForEachSection(params.source, params.pages, params.range, params.layout, transcoders, part,
                        parts, [&](const Section& section, const KvTranscoder& transcoder) {
                          return PackSection(section, transcoder, params.payload);
                        });
}

uint64_t ScatterWalk(const ScatterParams& params, const KvTranscoders& transcoders, int part,
                     int parts) {
  return ForEachSection(params.target, params.pages, params.range, params.layout, transcoders, part,
                        parts, [&](const Section& section, const KvTranscoder& transcoder) {
                          return ScatterSection(section, transcoder, params.payload);
                        });
}

}  // namespace baton::kernels
