#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/kv_page/codec.cuh"
#include "kernels/kv_page/view.h"
#include "kernels/rope/cuda.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

__global__ void RopeAnglesKernel(RopeAnglesParams params) {
  WaitForPredecessor();
  AllowSuccessor();
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= int64_t{params.rows} * params.pairs) return;
  const int row = static_cast<int>(i / params.pairs);
  const float angle = __fmul_rn(static_cast<float>(params.positions[row]),
                                params.inv_freq[i - int64_t{row} * params.pairs]);
  params.cos[i] = __fmul_rn(cosf(angle), params.magnitude);
  params.sin[i] = __fmul_rn(sinf(angle), params.magnitude);
}

struct RopeArgs {
  uint16_t* q;
  const uint16_t* k;
  const uint16_t* v;
  int64_t q_stride, k_stride, v_stride;
  int rows, q_heads, pairs;
  const float* cos;
  const float* sin;
  PagedKvView kv;
  const int32_t* positions;
  const int32_t* sequences;
  const int32_t* page_table;
  int64_t page_table_stride;
  int lanes;              // of a head: head_dim / 16
  int q_units, kv_units;  // warps for the heads of Q, of K or V
  int units;              // of a row
};

// Sixteen values of a head, the work of a lane: chunks of 8 dimensions, chosen so that a lane holds
// whole pairs.
struct LaneChunks {
  int first, second;
  bool rotates;
};
__device__ __forceinline__ LaneChunks ChunksOf(int lane, int lanes, int pairs) {
  const int rotary = pairs / 8;
  if (lane < rotary) return {lane, lane + rotary, true};
  return {rotary + lane, lanes + lane, false};
}

template <typename T>
__device__ __forceinline__ void LoadChunks(const uint16_t* head, const LaneChunks& chunks,
                                           float (&x)[kKvLaneValues]) {
  const uint4 packed[2] = {*reinterpret_cast<const uint4*>(head + 8 * chunks.first),
                           *reinterpret_cast<const uint4*>(head + 8 * chunks.second)};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float values[8];
    Unpack8<T>(packed[half], values);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[8 * half + i] = values[i];
  }
}

// Products and sums are rounded one by one, as on the CPU.
__device__ __forceinline__ void Rotate(float (&x)[kKvLaneValues], const float (&cos)[8],
                                       const float (&sin)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float a = x[i];
    const float b = x[8 + i];
    x[i] = __fsub_rn(__fmul_rn(a, cos[i]), __fmul_rn(b, sin[i]));
    x[8 + i] = __fadd_rn(__fmul_rn(b, cos[i]), __fmul_rn(a, sin[i]));
  }
}

__device__ __forceinline__ void LoadAngles(const float* table, float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 v = __ldg(reinterpret_cast<const float4*>(table + i));
    x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
  }
}

template <int kWords>
__device__ __forceinline__ void StoreWords(std::byte* to, const uint32_t* words) {
  if constexpr (kWords == 1) {
    *reinterpret_cast<uint32_t*>(to) = words[0];
  } else if constexpr (kWords == 2) {
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  } else {
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

// Encodes one head a group of lanes and writes it. All lanes of the warp take part; `page` is null
// where nothing is written.
template <typename Codec>
__device__ __forceinline__ void WriteGroup(const float (&x)[kKvLaneValues],
                                           const LaneChunks& chunks, int lane, int lanes,
                                           const KvPlaneView& plane, std::byte* page,
                                           uint64_t group) {
  KvExtremes extremes{};
  if constexpr (Codec::kScaleBytes > 0) extremes = ReduceExtremes<Codec::kSymmetric>(x, lanes);
  const uint32_t scale = Codec::Scale(extremes);
  uint32_t words[Codec::kLaneWords];
  Codec::Encode(x, extremes, scale, words);
  if (page == nullptr) return;
  std::byte* codes = page + plane.code_start + group * plane.code_bytes;
  constexpr int kHalf = Codec::kLaneWords / 2;  // a chunk's codes: kBits bytes
  StoreWords<kHalf>(codes + chunks.first * Codec::kBits, words);
  StoreWords<kHalf>(codes + chunks.second * Codec::kBits, words + kHalf);
  if (Codec::kScaleBytes == 0 || lane != 0) return;
  std::byte* at = page + plane.scale_start + group * plane.scale_bytes;
  if constexpr (Codec::kScaleBytes == 2) *reinterpret_cast<uint16_t*>(at) = scale;
  if constexpr (Codec::kScaleBytes == 4) *reinterpret_cast<uint32_t*>(at) = scale;
}

// Q heads of a unit, in place.
template <typename T>
__device__ __forceinline__ void RotateQuery(uint16_t* head, const LaneChunks& chunks,
                                            const float (&cos)[8], const float (&sin)[8]) {
  float x[kKvLaneValues];
  LoadChunks<T>(head, chunks, x);
  Rotate(x, cos, sin);
  float halves[2][8];
#pragma unroll
  for (int i = 0; i < kKvLaneValues; ++i) halves[i / 8][i % 8] = x[i];
  *reinterpret_cast<uint4*>(head + 8 * chunks.first) = Pack8<T>(halves[0]);
  *reinterpret_cast<uint4*>(head + 8 * chunks.second) = Pack8<T>(halves[1]);
}

// A warp takes one unit of one row: 32 / lanes heads of Q, of K or of V.
template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    RopeKvWriteKernel(const __grid_constant__ RopeArgs args) {
  WaitForPredecessor();
  AllowSuccessor();
  const int64_t warp = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  const int64_t row = warp / args.units;
  if (row >= args.rows) return;
  const int unit = static_cast<int>(warp - row * args.units);
  const int lane = static_cast<int>(threadIdx.x % 32) % args.lanes;
  const int in_unit = static_cast<int>(threadIdx.x % 32) / args.lanes;
  const int head_dim = 16 * args.lanes;
  const int heads_per_unit = 32 / args.lanes;
  const bool value = unit >= args.q_units + args.kv_units;
  const LaneChunks chunks = ChunksOf(lane, args.lanes, value ? 0 : args.pairs);
  float cos[8] = {};
  float sin[8] = {};
  if (chunks.rotates) {
    LoadAngles(args.cos + row * args.pairs + 8 * lane, cos);
    LoadAngles(args.sin + row * args.pairs + 8 * lane, sin);
  }
  if (unit < args.q_units) {
    const int head = unit * heads_per_unit + in_unit;
    if (head >= args.q_heads || !chunks.rotates) return;
    RotateQuery<T>(args.q + row * args.q_stride + head * head_dim, chunks, cos, sin);
    return;
  }
  const int sequence = args.sequences[row];
  if (sequence < 0) return;
  const int position = args.positions[row];
  const int head = (unit - args.q_units - (value ? args.kv_units : 0)) * heads_per_unit + in_unit;
  const bool valid = head < args.kv.kv_heads;
  float x[kKvLaneValues] = {};
  if (valid) {
    const uint16_t* from = value ? args.v + row * args.v_stride : args.k + row * args.k_stride;
    LoadChunks<T>(from + head * head_dim, chunks, x);
  }
  if (chunks.rotates) Rotate(x, cos, sin);
  std::byte* page = nullptr;  // lanes without a head take part in reductions, and write nothing
  if (valid) {
    const int32_t number =
        args.page_table[sequence * args.page_table_stride + (position >> args.kv.page_shift)];
    page = args.kv.pool + args.kv.page_bytes * static_cast<uint64_t>(number);
  }
  const KvPlaneView& plane = args.kv.plane[value ? 1 : 0];
  const uint64_t group = (static_cast<uint64_t>(head) << args.kv.page_shift) +
                         (position & (args.kv.page_tokens() - 1));
  WithKvCodec(plane.format, [&](auto codec) {
    WriteGroup<decltype(codec)>(x, chunks, lane, args.lanes, plane, page, group);
  });
}

bool Aligned(const void* pointer, int64_t stride) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride % 8 == 0;
}

}  // namespace

cudaError_t RopeAngles(const RopeAnglesParams& params) {
  const int64_t count = int64_t{params.rows} * params.pairs;
  if (count == 0) return cudaSuccess;
  return Launch(RopeAnglesKernel,
                {.grid = dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)),
                 .block = dim3(kThreads)},
                params.stream, params);
}

const char* RopeKvWriteProblem(const RopeKvWriteParams& params) {
  const KvGeometry& geometry = params.kv.layout.geometry();
  if (geometry.head_dim != 64 && geometry.head_dim != 128) {
    return "rope: head_dim, expected 64 or 128";
  }
  if (params.pairs < 0 || params.pairs % 8 != 0 || 2 * params.pairs > geometry.head_dim) {
    return "rope: pairs, expected a multiple of 8 up to head_dim / 2";
  }
  if (params.layer < 0 || params.layer >= geometry.layers) {
    return "rope: layer, expected one of the cache";
  }
  if (!Aligned(params.q, params.q_stride) || !Aligned(params.k, params.k_stride) ||
      !Aligned(params.v, params.v_stride) || !Aligned(params.cos, 0) || !Aligned(params.sin, 0) ||
      !Aligned(params.kv.pool, 0)) {
    return "rope: pointers and strides, expected multiples of 16 bytes";
  }
  return nullptr;
}

cudaError_t RopeKvWrite(const RopeKvWriteParams& params) {
  if (RopeKvWriteProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  RopeArgs args{.q = static_cast<uint16_t*>(params.q),
                .k = static_cast<const uint16_t*>(params.k),
                .v = static_cast<const uint16_t*>(params.v),
                .q_stride = params.q_stride,
                .k_stride = params.k_stride,
                .v_stride = params.v_stride,
                .rows = params.rows,
                .q_heads = params.q_heads,
                .pairs = params.pairs,
                .cos = params.cos,
                .sin = params.sin,
                .kv = ViewOf(params.kv, params.layer),
                .positions = params.positions,
                .sequences = params.sequences,
                .page_table = params.page_table,
                .page_table_stride = params.page_table_stride,
                .lanes = params.kv.layout.geometry().head_dim / 16};
  const int heads_per_unit = 32 / args.lanes;
  args.q_units = (params.q_heads + heads_per_unit - 1) / heads_per_unit;
  args.kv_units = (args.kv.kv_heads + heads_per_unit - 1) / heads_per_unit;
  args.units = args.q_units + 2 * args.kv_units;
  const int64_t warps = int64_t{params.rows} * args.units;
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>((warps + kWarps - 1) / kWarps)),
                          .block = dim3(kThreads)};
  return params.type == ActivationType::kFp16
             ? Launch(RopeKvWriteKernel<Fp16>, shape, params.stream, args)
             : Launch(RopeKvWriteKernel<Bf16>, shape, params.stream, args);
}

}  // namespace baton::kernels::cuda
