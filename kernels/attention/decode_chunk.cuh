// The decode attention kernel (decode_cuda.h). Persistent blocks of independent warps: a warp takes
// every warps-th chunk of its block's works, keeps a ring of chunks in flight by bulk copies that
// it issues and waits for alone, and holds the unnormalized sums of 8 query heads in registers;
// warps meet only at the end of a work.
//
// Tokens are the rows of the products (S^T = K Q^T, O^T = V^T P^T), query heads their 8 columns.
// Which dimension or token stands at which place of a contraction is free as long as both operands
// agree, so codes go from shared memory to fragments by 16-byte loads and byte permutes; lane
// (g = lane / 4, t = lane % 4) as in the mma.m16n8k16 fragment tables.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/attention/decode_launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/kv_page/codec.cuh"

namespace baton::kernels::cuda {

template <typename KeyCodec, typename ValueCodec, int kHeadDim, int kChunkBlocks>
struct DecodeTraits {
  using Key = KeyCodec;
  using Value = ValueCodec;
  static constexpr int kDim = kHeadDim;
  static constexpr int kBlocks = kChunkBlocks;  // of 16 tokens: what surely lies in one page
  static constexpr int kTokens = 16 * kBlocks;
  static constexpr int kKeyRow = kDim * Key::kBits / 8;  // bytes
  static constexpr int kValueRow = kDim * Value::kBits / 8;
  // A stage: K codes, V codes, K scale data, V scale data, each [token].
  static constexpr int kValueCodes = kTokens * kKeyRow;
  static constexpr int kKeyScales = kValueCodes + kTokens * kValueRow;
  static constexpr int kValueScales = kKeyScales + kTokens * Key::kScaleBytes;
  static constexpr int kStageBytes =
      (kValueScales + kTokens * Value::kScaleBytes + 127) / 128 * 128;
  static constexpr int kBlockBytes =
      16 * (kKeyRow + kValueRow + Key::kScaleBytes + Value::kScaleBytes);
  static constexpr int kKeyTerms = Key::kBf16 ? 2 : 1;      // of a query in the 16-bit type of K
  static constexpr int kValueTerms = Value::kBf16 ? 2 : 1;  // of a probability
};

__device__ __forceinline__ float Exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
__device__ __forceinline__ uint32_t TransposeMatrix(uint32_t row) {
  uint32_t column;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(column) : "r"(row));
  return column;
}

template <int kWords>
__device__ __forceinline__ void LoadShared(const std::byte* from, uint32_t (&words)[kWords]) {
  if constexpr (kWords == 1) {
    words[0] = *reinterpret_cast<const uint32_t*>(from);
  } else if constexpr (kWords == 2) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    words[0] = v.x, words[1] = v.y;
  } else {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
  }
}

template <bool kBf16>
__device__ __forceinline__ void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kBf16) {
    MmaBf16(d, a, b);
  } else {
    MmaFp16(d, a, b);
  }
}

// A pair as kTerms pairs of 16-bit numbers whose sum is the pair rounded.
template <bool kBf16, int kTerms>
__device__ __forceinline__ void RoundPair(float low, float high, uint32_t (&terms)[kTerms]) {
  if constexpr (kBf16) {
    terms[0] = Bf16::FromFloat2(low, high);
    const float2 first = Bf16::ToFloat2(terms[0]);
    terms[kTerms - 1] = Bf16::FromFloat2(low - first.x, high - first.y);
  } else {
    terms[0] = Fp16::FromFloat2(low, high);
  }
}

// Walks the chunks of this warp through all works of its block and issues their copies. Lane
// 4 * block + kind copies K codes, V codes, K scale data or V scale data (kind 0 to 3) of a block.
template <typename T>
class DecodeLoader {
 public:
  __device__ DecodeLoader(const DecodeArgs& args, std::byte* ring, uint64_t* full, int warp,
                          int warps)
      : args_(args), ring_(ring), full_(full), warp_(warp), warps_(warps) {
    lane_ = static_cast<int>(threadIdx.x % 32);
    block_ = lane_ / 4;
    const int kind = lane_ % 4;
    const KvPlaneView& k = args.kv.plane[0];
    const KvPlaneView& v = args.kv.plane[1];
    row_ = kind < 2 ? (kind == 0 ? k.code_bytes : v.code_bytes)
                    : (kind == 2 ? k.scale_bytes : v.scale_bytes);
    start_ = kind < 2 ? (kind == 0 ? k.code_start : v.code_start)
                      : (kind == 2 ? k.scale_start : v.scale_start);
    section_ =
        kind < 2 ? (kind == 0 ? 0 : T::kValueCodes) : (kind == 2 ? T::kKeyScales : T::kValueScales);
    section_ += block_ * 16 * static_cast<int>(row_);
    work_ = args.begin[blockIdx.x] - 1;
    work_end_ = args.begin[blockIdx.x + 1];
    NextWork();
  }

  // Starts the copies of the warp's next chunk, if there is one, into the next stage of the ring.
  // Waits for the preceding kernel only for the chunk that holds the step's own token.
  __device__ __forceinline__ void Issue() {
    if (work_ >= work_end_) return;
    if ((chunk_ + 1) * T::kTokens >= token_end_) WaitForPredecessor();
    uint64_t* full = full_ + stage_;
    const uint32_t blocks = __popc(__ballot_sync(0xFFFFFFFFu, copies_ && lane_ % 4 == 0));
    if (lane_ == 0) BarrierArriveExpect(full, blocks * T::kBlockBytes);
    __syncwarp();
    if (copies_ && row_ > 0) {
      CopyBulk(ring_ + stage_ * T::kStageBytes + section_,
               source_ + static_cast<uint64_t>(page_) * args_.kv.page_bytes + in_page_ * row_,
               16 * row_, full);
    }
    stage_ = stage_ + 1 == args_.stages ? 0 : stage_ + 1;
    chunk_ += warps_;
    if (chunk_ >= chunk_end_) {
      NextWork();
    } else {
      LookUp();
    }
  }

 private:
  __device__ void NextWork() {
    do {
      if (++work_ >= work_end_) return;
      const DecodeWork& work = args_.works[work_];
      chunk_ = work.chunk_begin + warp_;
      chunk_end_ = work.chunk_end;
      token_begin_ = work.token_begin;
      token_end_ = work.token_end;
      pages_ = args_.page_table + work.sequence * args_.page_table_stride;
      const int head = work.tile / args_.tiles;
      source_ =
          args_.kv.pool + start_ + (static_cast<uint64_t>(head) << args_.kv.page_shift) * row_;
    } while (chunk_ >= chunk_end_);
    LookUp();
  }
  // The page is looked up a chunk ahead of its use.
  __device__ __forceinline__ void LookUp() {
    const int token = (chunk_ * T::kBlocks + block_) * 16;
    copies_ = block_ < T::kBlocks && token < token_end_ && token + 16 > token_begin_;
    in_page_ = token & (args_.kv.page_tokens() - 1);
    if (copies_) page_ = __ldg(pages_ + (token >> args_.kv.page_shift));
  }

  const DecodeArgs& args_;
  std::byte* ring_;
  uint64_t* full_;
  int warp_, warps_, lane_, block_;
  uint32_t row_;  // bytes of a token
  uint64_t start_;
  int section_;
  int work_, work_end_;
  int stage_ = 0;
  int chunk_ = 0, chunk_end_ = 0, token_begin_ = 0, token_end_ = 0;
  const int32_t* pages_ = nullptr;
  const std::byte* source_ = nullptr;
  bool copies_ = false;
  uint32_t in_page_ = 0;
  int32_t page_ = 0;
};

// The query heads of one work as B operand of K Q^T, scaled to [1, 2) by powers of two so that
// every activation fits fp16.
template <typename T>
struct DecodeQuery {
  using Key = typename T::Key;
  static constexpr int kSteps = T::kDim / 16;
  static constexpr int kWords = T::kDim * Key::kBits / 128;  // of a token's codes in one lane
  static constexpr int kVector = kWords < 4 ? kWords : 4;

  uint32_t b[kSteps][T::kKeyTerms][2];
  float scale[2];   // of scores to powers of two, for heads 2t and 2t + 1
  float offset[2];  // the same times the sum of the query's elements (int4)

  // `row`: the query of head g, or null.
  __device__ __forceinline__ void Load(const uint16_t* row, bool bf16, float scale_log2, int t) {
    uint32_t raw[2 * kSteps];
    float amax = 0.0f;
#pragma unroll
    for (int p = 0; p < 2 * kSteps; ++p) {
      const int word = p / Key::kWordPairs;
      const int first = ((word / kVector * 4 + t) * kVector + word % kVector) * (32 / Key::kBits);
      raw[p] = 0;
      if (row != nullptr) {
        const int within = p % Key::kWordPairs;
        if constexpr (Key::kBits == 4) {
          raw[p] = row[first + Key::PairDim(within, 0)] |
                   uint32_t{row[first + Key::PairDim(within, 1)]} << 16;
        } else {
          raw[p] = *reinterpret_cast<const uint32_t*>(row + first + Key::PairDim(within, 0));
        }
      }
    }
#pragma unroll
    for (int p = 0; p < 2 * kSteps; ++p) {
      const float2 x = ToFloats(raw[p], bf16);
      amax = fmaxf(amax, fmaxf(fabsf(x.x), fabsf(x.y)));
    }
    amax = fmaxf(amax, __shfl_xor_sync(0xFFFFFFFFu, amax, 1));
    amax = fmaxf(amax, __shfl_xor_sync(0xFFFFFFFFu, amax, 2));
    const uint32_t exponent = __float_as_uint(amax) >> 23;
    const bool rescale = !Key::kBf16 && amax > 0.0f && exponent < 254;
    const uint32_t e = exponent < 1 ? 1 : exponent;
    const float down = rescale ? __uint_as_float((254 - e) << 23) : 1.0f;
    const float up = (rescale ? __uint_as_float(e << 23) : 1.0f) * scale_log2;
    float sum = 0.0f;
#pragma unroll
    for (int p = 0; p < 2 * kSteps; ++p) {
      const float2 x = ToFloats(raw[p], bf16);
      uint32_t terms[T::kKeyTerms];
      RoundPair<Key::kBf16>(x.x * down, x.y * down, terms);
#pragma unroll
      for (int i = 0; i < T::kKeyTerms; ++i) b[p / 2][i][p % 2] = terms[i];
      if constexpr (Key::kBits == 4) {
        const float2 rounded = Fp16::ToFloat2(terms[0]);
        sum += rounded.x + rounded.y;
      }
    }
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
#pragma unroll
    for (int i = 0; i < 2; ++i) {  // head 2t + i is held by lanes 4 (2t + i) ...
      scale[i] = __shfl_sync(0xFFFFFFFFu, up, 4 * (2 * t + i));
      offset[i] = __shfl_sync(0xFFFFFFFFu, up * sum, 4 * (2 * t + i));
    }
  }

  static __device__ __forceinline__ float2 ToFloats(uint32_t pair, bool bf16) {
    return bf16 ? Bf16::ToFloat2(pair) : Fp16::ToFloat2(pair);
  }
};

// Running softmax and weighted sum of 8 heads. Weighted sums are kept in units of 2^(exponent -
// 127), the exponent of the largest V scale so far, so that weight times scale fits fp16 whatever
// the scales.
template <typename T>
struct DecodeState {
  float acc[T::kDim / 16][4];  // dimension g * kDim / 8 + 2 i + j / 2, head 2t + j % 2
  float max[2];                // score of heads 2t and 2t + 1
  float sum[2];                // of this lane's tokens: weights
  float shift[2];              // of this lane's tokens: weights times m
  uint32_t exponent;           // biased as in fp32; that of 1 for formats without scales

  static constexpr bool kScaled = T::Value::kScaleBytes > 0;

  __device__ __forceinline__ void Reset() {
#pragma unroll
    for (auto& row : acc) {
#pragma unroll
      for (float& x : row) x = 0.0f;
    }
    max[0] = max[1] = -1e30f;  // finite: differences stay numbers
    sum[0] = sum[1] = shift[0] = shift[1] = 0.0f;
    exponent = kScaled ? 127 - 24 : 127;  // the smallest scale
  }
  __device__ __forceinline__ float unit() const { return __uint_as_float(exponent << 23); }

  // To larger maxima and a larger exponent.
  __device__ __forceinline__ void Rescale(const float (&largest)[2], uint32_t new_exponent) {
    const float change = kScaled ? __uint_as_float((127 + exponent - new_exponent) << 23) : 1.0f;
    exponent = new_exponent;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float factor = Exp2(max[j] - largest[j]);
      max[j] = largest[j];
      sum[j] *= factor;
      shift[j] *= factor;
#pragma unroll
      for (auto& row : acc) {
        row[j] *= factor * change;
        row[2 + j] *= factor * change;
      }
    }
  }
};

// Scores of a block of 16 tokens, in powers of two: x[2 i + j] of token g + 8 i, head 2t + j.
template <typename T>
__device__ __forceinline__ void DecodeScores(const std::byte* stage, int block,
                                             const DecodeQuery<T>& query, int g, int t,
                                             float (&x)[4]) {
  using Key = typename T::Key;
  constexpr int kVector = DecodeQuery<T>::kVector;
  constexpr int kPairs = kVector * Key::kWordPairs;  // of one vector of codes
  float c[2][4] = {};
  const std::byte* low = stage + (block * 16 + g) * T::kKeyRow + t * kVector * 4;
#pragma unroll
  for (int v = 0; v < DecodeQuery<T>::kWords / kVector; ++v) {
    uint32_t words[2][kVector];
    LoadShared(low + v * kVector * 16, words[0]);
    LoadShared(low + v * kVector * 16 + 8 * T::kKeyRow, words[1]);
    uint32_t pairs[2][kPairs];
#pragma unroll
    for (int w = 0; w < kVector; ++w) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        uint32_t unpacked[Key::kWordPairs];
        Key::UnpackDims(words[r][w], unpacked);
#pragma unroll
        for (int p = 0; p < Key::kWordPairs; ++p) {
          pairs[r][w * Key::kWordPairs + p] = unpacked[p];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kPairs / 2; ++i) {
      const uint32_t a[4] = {pairs[0][2 * i], pairs[1][2 * i], pairs[0][2 * i + 1],
                             pairs[1][2 * i + 1]};
#pragma unroll
      for (int term = 0; term < T::kKeyTerms; ++term) {
        Mma<Key::kBf16>(c[i % 2], a, query.b[v * kPairs / 2 + i][term]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const KvAffine k =
        Key::ReadScale(stage + T::kKeyScales + (block * 16 + g + 8 * i) * Key::kScaleBytes);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      x[2 * i + j] = (c[0][2 * i + j] + c[1][2 * i + j]) * (k.s * query.scale[j]);
      if constexpr (Key::kBits == 4) x[2 * i + j] = fmaf(k.m, query.offset[j], x[2 * i + j]);
    }
  }
}

// acc += V^T P^T of a block; `weights` placed as DecodeScores places scores, times scales of V.
template <typename T>
__device__ __forceinline__ void DecodeSum(const std::byte* stage, int block,
                                          const float (&weights)[4], int g, int t,
                                          DecodeState<T>& state) {
  using Value = typename T::Value;
  constexpr int kWords = T::kDim * Value::kBits / 256;  // of a token's codes in one lane
  constexpr int kVector = kWords < 4 ? kWords : 4;
  uint32_t b[T::kValueTerms][2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    uint32_t terms[T::kValueTerms];
    RoundPair<Value::kBf16>(weights[2 * i], weights[2 * i + 1], terms);
#pragma unroll
    for (int term = 0; term < T::kValueTerms; ++term) b[term][i] = TransposeMatrix(terms[term]);
  }
  const std::byte* rows =
      stage + T::kValueCodes + (block * 16 + 2 * t) * T::kValueRow + g * kWords * 4;
#pragma unroll
  for (int v = 0; v < kWords / kVector; ++v) {
    uint32_t words[4][kVector];
#pragma unroll
    for (int token = 0; token < 4; ++token) {  // 2t, 2t + 1, 2t + 8, 2t + 9
      LoadShared(rows + (token / 2 * 8 + token % 2) * T::kValueRow + v * kVector * 4, words[token]);
    }
#pragma unroll
    for (int w = 0; w < kVector; ++w) {
      uint32_t low[2 * Value::kWordPairs];
      uint32_t high[2 * Value::kWordPairs];
      Value::UnpackTokens(words[0][w], words[1][w], low);
      Value::UnpackTokens(words[2][w], words[3][w], high);
#pragma unroll
      for (int p = 0; p < Value::kWordPairs; ++p) {
        const uint32_t a[4] = {low[2 * p], low[2 * p + 1], high[2 * p], high[2 * p + 1]};
#pragma unroll
        for (int term = 0; term < T::kValueTerms; ++term) {
          Mma<Value::kBf16>(state.acc[(v * kVector + w) * Value::kWordPairs + p], a, b[term]);
        }
      }
    }
  }
}

// Masked tokens must not matter whatever their pages hold: their V codes and all their scale data
// become zero (their scores are overwritten later).
template <typename T>
__device__ __noinline__ void ClearMasked(std::byte* stage, int first_token, int begin, int end) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int r = 0; r < T::kTokens; ++r) {
    if (first_token + r >= begin && first_token + r < end) continue;
    for (int i = 4 * lane; i < T::kValueRow; i += 128) {
      *reinterpret_cast<uint32_t*>(stage + T::kValueCodes + r * T::kValueRow + i) = 0;
    }
    if (2 * lane < T::Key::kScaleBytes) {
      *reinterpret_cast<uint16_t*>(stage + T::kKeyScales + r * T::Key::kScaleBytes + 2 * lane) = 0;
    }
    if (2 * lane < T::Value::kScaleBytes) {
      *reinterpret_cast<uint16_t*>(stage + T::kValueScales + r * T::Value::kScaleBytes + 2 * lane) =
          0;
    }
  }
  FenceAsyncShared();  // before the copy engine writes the stage again
  __syncwarp();
}

// The biased fp32 exponent of the largest scale among a chunk's tokens; at most that of fp16's
// largest number (a NaN shows in its weight).
template <typename T>
__device__ __forceinline__ uint32_t LargestExponent(const float (&scale)[T::kBlocks][2]) {
  uint32_t bits = 0;
#pragma unroll
  for (const auto& block : scale) {
    bits = max(bits, max(__float_as_uint(block[0]), __float_as_uint(block[1])));
  }
  return min(__reduce_max_sync(0xFFFFFFFFu, bits) >> 23, 127u + 15u);
}

template <typename T>
__device__ __forceinline__ void DecodeChunk(std::byte* stage, int first_token, int begin, int end,
                                            const DecodeQuery<T>& query, int g, int t,
                                            DecodeState<T>& state) {
  using Value = typename T::Value;
  const bool partial = first_token < begin || first_token + T::kTokens > end;
  if (partial) ClearMasked<T>(stage, first_token, begin, end);
  float x[T::kBlocks][4];
  float largest[2] = {state.max[0], state.max[1]};
  float scale[T::kBlocks][2];
  float offset[T::kBlocks][2];
#pragma unroll
  for (int block = 0; block < T::kBlocks; ++block) {
    DecodeScores<T>(stage, block, query, g, t, x[block]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = block * 16 + g + 8 * i;
      const KvAffine v = Value::ReadScale(stage + T::kValueScales + token * Value::kScaleBytes);
      scale[block][i] = v.s;
      offset[block][i] = v.m;
      const bool masked = partial && (first_token + token < begin || first_token + token >= end);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if (masked) x[block][2 * i + j] = -1e30f;
        largest[j] = fmaxf(largest[j], x[block][2 * i + j]);
      }
    }
  }
#pragma unroll
  for (int distance = 4; distance < 32; distance *= 2) {
    largest[0] = fmaxf(largest[0], __shfl_xor_sync(0xFFFFFFFFu, largest[0], distance));
    largest[1] = fmaxf(largest[1], __shfl_xor_sync(0xFFFFFFFFu, largest[1], distance));
  }
  uint32_t exponent = state.exponent;
  if constexpr (DecodeState<T>::kScaled) exponent = max(exponent, LargestExponent<T>(scale));
  if (__any_sync(0xFFFFFFFFu, largest[0] > state.max[0] || largest[1] > state.max[1] ||
                                  exponent > state.exponent)) {
    state.Rescale(largest, exponent);
  }
  const float inverse_unit = __uint_as_float((254 - state.exponent) << 23);
#pragma unroll
  for (int block = 0; block < T::kBlocks; ++block) {
    float weights[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float weight = Exp2(x[block][2 * i + j] - state.max[j]);
        weights[2 * i + j] = weight;
        if constexpr (DecodeState<T>::kScaled) {
          weights[2 * i + j] *= scale[block][i] * inverse_unit;
        }
        state.sum[j] += weight;
        if constexpr (Value::kBits == 4) {
          state.shift[j] = fmaf(weight, offset[block][i], state.shift[j]);
        }
      }
    }
    DecodeSum<T>(stage, block, weights, g, t, state);
  }
}

}  // namespace baton::kernels::cuda
