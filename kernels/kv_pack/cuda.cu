#include <algorithm>
#include <bit>

#include "kernels/cuda/checksum.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/kv_pack/cuda.h"
#include "kernels/kv_page/codec.cuh"
#include "kernels/kv_page/view.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Groups of a block: neighbours in the payload's order, 64, 128 or 256 of them, so that whole words
// of the scale plane belong to one block.
constexpr int kMinTile = 64;
constexpr int kMaxTile = kThreads;
constexpr uint32_t kTileBytes = 32768;  // of codes, about
constexpr uint32_t kEnoughBlocks = 512;
constexpr int kUnroll = 4;  // 16-byte loads in flight of a thread that copies

// K or V of the first layer; later layers are a stride away.
struct SectionArgs {
  KvFormat page_format;
  KvFormat slab_format;
  uint32_t page_code_bytes, page_scale_bytes;  // of a group
  uint32_t slab_code_bytes, slab_scale_bytes;
  uint64_t page_codes, page_scales;  // offsets in a page of group (h0, token 0)
  uint64_t slab_codes, slab_scales;  // offsets in the payload
};
struct SlabArgs {
  std::byte* pool;
  uint64_t page_bytes;
  int32_t page_shift;
  const int32_t* pages;
  uint32_t t0, tokens;
  uint32_t groups;  // of a section
  uint32_t tile;    // groups of a block
  std::byte* payload;
  unsigned long long* checksum;
  int lanes;                                                 // of a group: head_dim / 16
  uint64_t page_layer_codes, page_layer_scales, slab_layer;  // strides from layer to layer
  SectionArgs section[2];                                    // K, V
};

// Where a group lies in the pool.
struct PageGroup {
  uint64_t codes;
  uint64_t scale;
};
__device__ __forceinline__ PageGroup Locate(const SlabArgs& args, const SectionArgs& section,
                                            uint32_t layer, uint32_t group) {
  const uint32_t head = group / args.tokens;
  const uint32_t token = args.t0 + (group - head * args.tokens);
  const int32_t page = __ldg(args.pages + (token >> args.page_shift));
  const uint32_t in_page = token & ((1u << args.page_shift) - 1);
  const uint64_t index = (static_cast<uint64_t>(head) << args.page_shift) + in_page;
  const uint64_t start = static_cast<uint64_t>(page) * args.page_bytes;
  return {
      start + section.page_codes + layer * args.page_layer_codes + index * section.page_code_bytes,
      start + section.page_scales + layer * args.page_layer_scales +
          index * section.page_scale_bytes};
}

template <int kWords>
__device__ __forceinline__ void LoadWords(const std::byte* from, uint32_t (&words)[kWords]) {
  static_assert(kWords == 2 || kWords % 4 == 0);
  if constexpr (kWords == 2) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    words[0] = v.x, words[1] = v.y;
  } else {
#pragma unroll
    for (int i = 0; i < kWords; i += 4) {
      const uint4 v = *reinterpret_cast<const uint4*>(from + 4 * i);
      words[i] = v.x, words[i + 1] = v.y, words[i + 2] = v.z, words[i + 3] = v.w;
    }
  }
}
template <int kWords>
__device__ __forceinline__ void StoreWords(std::byte* to, const uint32_t (&words)[kWords]) {
  if constexpr (kWords == 2) {
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  } else {
#pragma unroll
    for (int i = 0; i < kWords; i += 4) {
      *reinterpret_cast<uint4*>(to + 4 * i) =
          make_uint4(words[i], words[i + 1], words[i + 2], words[i + 3]);
    }
  }
}

// The summands of words that lie at `offset` of the payload.
template <int kWords>
__device__ __forceinline__ uint64_t Checksum(const uint32_t (&words)[kWords], uint64_t offset) {
  uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < kWords; i += 2) {
    sum += ChecksumTerm(words[i] | static_cast<uint64_t>(words[i + 1]) << 32, offset / 8 + i / 2);
  }
  return sum;
}

// Adds every thread's sum to *total.
__device__ __forceinline__ void AddChecksum(uint64_t sum, unsigned long long* total) {
  __shared__ uint64_t partial[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, offset);
  }
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kThreads / 32; ++i) sum += partial[i];
  atomicAdd(total, static_cast<unsigned long long>(sum));
}

__device__ __forceinline__ uint32_t LoadScale(const std::byte* at, uint32_t bytes) {
  if (bytes == 2) return *reinterpret_cast<const uint16_t*>(at);
  return bytes == 4 ? *reinterpret_cast<const uint32_t*>(at) : 0u;
}
__device__ __forceinline__ void StoreScale(std::byte* at, uint32_t bytes, uint32_t scale) {
  if (bytes == 2) *reinterpret_cast<uint16_t*>(at) = static_cast<uint16_t>(scale);
  if (bytes == 4) *reinterpret_cast<uint32_t*>(at) = scale;
}

// Scale data of the tile between payload and shared memory, one 64-bit word a thread, with the zero
// padding of the section's end. Returns the word's summand.
template <bool kToSlab>
__device__ __forceinline__ uint64_t MoveSlabScales(const SlabArgs& args, const SectionArgs& section,
                                                   uint64_t offset, uint32_t first, uint32_t count,
                                                   uint32_t* scales) {
  const uint32_t bytes = section.slab_scale_bytes;
  if (bytes == 0) return 0;
  const uint64_t begin = offset + uint64_t{first} * bytes;
  const bool last = first + count == args.groups;
  const uint32_t words = (last ? (count * bytes + 15) / 16 * 16 : count * bytes) / 8;
  const uint32_t i = threadIdx.x;
  if (i >= words) return 0;
  uint64_t* at = reinterpret_cast<uint64_t*>(args.payload + begin) + i;
  uint64_t word = 0;
  const uint32_t per_word = 8 / bytes;
  if constexpr (kToSlab) {
    for (uint32_t j = 0; j < per_word; ++j) {
      const uint32_t group = i * per_word + j;
      if (group < count) word |= static_cast<uint64_t>(scales[group]) << (8 * bytes * j);
    }
    *at = word;
  } else {
    word = *at;
    for (uint32_t j = 0; j < per_word; ++j) {
      const uint32_t group = i * per_word + j;
      const uint32_t scale = static_cast<uint32_t>(word >> (8 * bytes * j));
      if (group < count) scales[group] = bytes == 2 ? scale & 0xFFFFu : scale;
    }
  }
  return ChecksumTerm(word, begin / 8 + i);
}

// What a block works on.
struct Tile {
  uint32_t first;         // group
  uint32_t count;         // of groups
  uint64_t codes;         // payload offset of the first group's codes
  const uint64_t* place;  // shared: where each group's codes lie in the pool
};

// Codes of a tile where both sides have one format: 16 bytes a time. Returns their checksum.
template <bool kPack>
__device__ __forceinline__ uint64_t CopyCodes(const SlabArgs& args, const SectionArgs& section,
                                              const Tile& tile) {
  const uint32_t shift = __ffs(static_cast<int>(section.page_code_bytes / 16)) - 1;
  const uint32_t total = tile.count << shift;
  uint64_t sum = 0;
  for (uint32_t base = threadIdx.x; base < total; base += kUnroll * kThreads) {
    uint32_t words[kUnroll][4];
#pragma unroll
    for (int k = 0; k < kUnroll; ++k) {
      const uint32_t i = base + k * kThreads;
      if (i >= total) continue;
      const std::byte* from =
          kPack ? args.pool + tile.place[i >> shift] + 16 * (i & ((1u << shift) - 1))
                : args.payload + tile.codes + 16 * uint64_t{i};
      LoadWords(from, words[k]);
    }
#pragma unroll
    for (int k = 0; k < kUnroll; ++k) {
      const uint32_t i = base + k * kThreads;
      if (i >= total) continue;
      const uint64_t offset = tile.codes + 16 * uint64_t{i};
      std::byte* to = kPack ? args.payload + offset
                            : args.pool + tile.place[i >> shift] + 16 * (i & ((1u << shift) - 1));
      StoreWords(to, words[k]);
      sum += Checksum(words[k], offset);
    }
  }
  return sum;
}

// Codes of a tile from one format to another, 16 values of a group a lane. Scale data of the source
// are in `from`, those of the target are left in `to`. Returns the checksum of the payload's codes.
template <bool kPack, typename From, typename To>
__device__ __forceinline__ uint64_t ConvertCodes(const SlabArgs& args, const SectionArgs& section,
                                                 const Tile& tile, const uint32_t* from,
                                                 uint32_t* to) {
  uint64_t sum = 0;
  const uint32_t lane = threadIdx.x % args.lanes;
  const uint32_t step = kThreads / args.lanes;
  const auto load = [&](uint32_t i, uint32_t(&words)[From::kLaneWords]) {
    if (i >= tile.count) return;
    const std::byte* source =
        kPack ? args.pool + tile.place[i]
              : args.payload + tile.codes + uint64_t{i} * section.slab_code_bytes;
    LoadWords(source + lane * sizeof(words), words);
  };
  uint32_t next[From::kLaneWords] = {};  // loaded a round ahead
  load(threadIdx.x / args.lanes, next);
  for (uint32_t base = 0; base < tile.count; base += step) {  // the same for all: shuffles
    const uint32_t i = base + threadIdx.x / args.lanes;
    const bool valid = i < tile.count;
    uint32_t in[From::kLaneWords];
#pragma unroll
    for (int w = 0; w < From::kLaneWords; ++w) in[w] = next[w];
    load(i + step, next);
    float x[kKvLaneValues];
    From::Decode(in, from[valid ? i : 0], x);
    KvExtremes extremes{};
    if constexpr (To::kScaleBytes > 0) {
      extremes = ReduceExtremes<To::kSymmetric>(x, args.lanes);
    }
    const uint32_t scale = To::Scale(extremes);
    uint32_t out[To::kLaneWords];
    To::Encode(x, extremes, scale, out);
    if (!valid) continue;
    const uint64_t offset = tile.codes + uint64_t{i} * section.slab_code_bytes;
    std::byte* target = kPack ? args.payload + offset : args.pool + tile.place[i];
    StoreWords(target + lane * sizeof(out), out);
    if (lane == 0) to[i] = scale;
    if constexpr (kPack) {
      sum += Checksum(out, offset + lane * sizeof(out));
    } else {
      sum += Checksum(in, offset + lane * sizeof(in));
    }
  }
  return sum;
}

template <bool kPack>
__global__ void __launch_bounds__(kThreads) SlabCopyKernel(const __grid_constant__ SlabArgs args) {
  __shared__ uint64_t place[kMaxTile];
  __shared__ uint32_t scales[2][kMaxTile];  // of the source, of the target
  const uint32_t layer = blockIdx.y / 2;
  const SectionArgs& section = args.section[blockIdx.y % 2];
  const uint32_t first = blockIdx.x * args.tile;
  const uint64_t slab_start = layer * args.slab_layer;
  const Tile tile{
      .first = first,
      .count = min(args.tile, args.groups - first),
      .codes = slab_start + section.slab_codes + uint64_t{first} * section.slab_code_bytes,
      .place = place};
  const uint64_t slab_scales = slab_start + section.slab_scales;
  WaitForPredecessor();
  AllowSuccessor();

  const uint32_t i = threadIdx.x;
  uint64_t sum = 0;
  std::byte* page_scale = nullptr;
  if (i < tile.count) {
    const PageGroup group = Locate(args, section, layer, first + i);
    place[i] = group.codes;
    page_scale = args.pool + group.scale;
    if constexpr (kPack) scales[0][i] = LoadScale(page_scale, section.page_scale_bytes);
  }
  if constexpr (!kPack) {
    sum += MoveSlabScales<false>(args, section, slab_scales, first, tile.count, scales[0]);
  }
  __syncthreads();
  const bool same = section.page_format == section.slab_format;
  uint32_t* const to = same ? scales[0] : scales[1];
  if (same) {
    sum += CopyCodes<kPack>(args, section, tile);
  } else {
    const KvFormat source = kPack ? section.page_format : section.slab_format;
    const KvFormat target = kPack ? section.slab_format : section.page_format;
    WithKvCodec(source, [&](auto from) {
      WithKvCodec(target, [&](auto other) {
        using From = decltype(from);
        using To = decltype(other);
        if constexpr (From::kFormat != To::kFormat) {
          sum += ConvertCodes<kPack, From, To>(args, section, tile, scales[0], to);
        }
      });
    });
    __syncthreads();
  }
  if constexpr (kPack) {
    sum += MoveSlabScales<true>(args, section, slab_scales, first, tile.count, to);
  } else if (i < tile.count) {
    StoreScale(page_scale, section.page_scale_bytes, to[i]);
  }
  AddChecksum(sum, args.checksum);
}

SlabArgs ArgsOf(const SlabCopyParams& params) {
  const KvPageLayout& page = params.kv.layout;
  const SlabLayout& slab = params.layout;
  const int l0 = static_cast<int>(params.range.l0);
  const int h0 = static_cast<int>(params.range.h0);
  const bool layers = page.geometry().layers > 1;
  SlabArgs args{.pool = params.kv.pool,
                .page_bytes = page.page_bytes(),
                .page_shift = std::countr_zero(static_cast<unsigned>(page.page_tokens())),
                .pages = params.pages,
                .t0 = params.range.t0,
                .tokens = slab.tokens(),
                .groups = slab.heads() * slab.tokens(),
                .payload = params.payload,
                .checksum = reinterpret_cast<unsigned long long*>(params.checksum),
                .lanes = slab.head_dim() / 16,
                .page_layer_codes = layers ? page.CodeOffset(1, KvTensor::kKey, 0, 0) : 0,
                .page_layer_scales = layers ? page.ScaleOffset(1, KvTensor::kKey, 0, 0) -
                                                  page.ScaleOffset(0, KvTensor::kKey, 0, 0)
                                            : 0,
                .slab_layer = slab.layer_bytes()};
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    const KvFormat wire = slab.format(tensor);
    args.section[static_cast<int>(tensor)] = {
        .page_format = page.format(tensor),
        .slab_format = wire,
        .page_code_bytes = static_cast<uint32_t>(page.code_bytes(tensor)),
        .page_scale_bytes = static_cast<uint32_t>(page.scale_bytes(tensor)),
        .slab_code_bytes = static_cast<uint32_t>(KvCodeBytes(wire, slab.head_dim())),
        .slab_scale_bytes = static_cast<uint32_t>(KvScaleBytes(wire)),
        .page_codes = page.CodeOffset(l0, tensor, h0, 0),
        .page_scales = page.ScaleOffset(l0, tensor, h0, 0),
        .slab_codes = slab.CodeSection(0, tensor),
        .slab_scales = slab.ScaleSection(0, tensor)};
  }
  uint32_t largest = 1;
  for (const SectionArgs& section : args.section) {
    largest = std::max({largest, section.page_code_bytes, section.slab_code_bytes});
  }
  args.tile = std::clamp<uint32_t>(std::bit_floor(kTileBytes / largest), kMinTile, kMaxTile);
  const uint64_t groups = uint64_t{2} * slab.layers() * args.groups;
  while (args.tile > kMinTile && groups / args.tile < kEnoughBlocks) args.tile /= 2;
  return args;
}

template <bool kPack>
cudaError_t LaunchSlabCopy(const SlabCopyParams& params) {
  if (SlabCopyProblem(params) != nullptr) return cudaErrorInvalidValue;
  const SlabArgs args = ArgsOf(params);
  const dim3 grid((args.groups + args.tile - 1) / args.tile, 2 * params.layout.layers());
  return Launch(SlabCopyKernel<kPack>, {.grid = grid, .block = dim3(kThreads)}, params.stream,
                args);
}

}  // namespace

const char* SlabCopyProblem(const SlabCopyParams& params) {
  const KvGeometry& geometry = params.kv.layout.geometry();
  const SlabRange& range = params.range;
  const SlabLayout& slab = params.layout;
  if (geometry.head_dim < 32 || !std::has_single_bit(static_cast<unsigned>(geometry.head_dim))) {
    return "slab copy: head_dim, expected 32, 64, 128 or 256";
  }
  if (range.l1 > static_cast<uint32_t>(geometry.layers) ||
      range.h1 > static_cast<uint32_t>(geometry.kv_heads)) {
    return "slab copy: range, expected one within the cache";
  }
  if (slab.head_dim() != geometry.head_dim || slab.layers() != range.l1 - range.l0 ||
      slab.heads() != range.h1 - range.h0 || slab.tokens() != range.t1 - range.t0) {
    return "slab copy: layout, expected that of the range";
  }
  if (uint64_t{slab.heads()} * slab.tokens() >= uint64_t{1} << 31) {
    return "slab copy: range, expected fewer than 2^31 groups in a layer";
  }
  if (reinterpret_cast<uintptr_t>(params.payload) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(params.kv.pool) % 16 != 0) {
    return "slab copy: pool and payload, expected 16-byte alignment";
  }
  return nullptr;
}

cudaError_t Pack(const SlabCopyParams& params) { return LaunchSlabCopy<true>(params); }
cudaError_t Scatter(const SlabCopyParams& params) { return LaunchSlabCopy<false>(params); }

}  // namespace baton::kernels::cuda
