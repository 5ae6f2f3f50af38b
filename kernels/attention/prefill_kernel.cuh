// Prefill attention for sm_90a: one warp loads tiles through the copy engine, kGroups warpgroups of
// 64 rows each compute. Within a warpgroup the products of one block of tokens run while the
// softmax of the next is computed; between warpgroups named barriers give the tensor cores to one
// after the other, so that the softmax of one hides behind the products of another (the schedule
// of FlashAttention-3, arXiv 2407.08608, sections 3.1 and 3.2).
#pragma once

#include "kernels/attention/prefill_exact.cuh"
#include "kernels/attention/prefill_load.cuh"
#include "kernels/attention/prefill_rows.cuh"
#include "kernels/attention/prefill_shared.cuh"

namespace baton::kernels::cuda {

// Named barriers of the hardware; 0 is __syncthreads. One per warpgroup to take turns, one per
// warpgroup for itself.
__device__ __forceinline__ void NamedSync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void NamedArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

template <typename T, int kDim, int kGroups>
struct PrefillGroup {
  using Shared = PrefillShared<kDim, kGroups>;
  const PrefillLaunch& p;
  Shared& s;
  const int group;  // this warpgroup
  const int warp;   // in it
  const int lane;
  PrefillRows<T, kDim> rows;

  __device__ PrefillGroup(const PrefillLaunch& launch, Shared& shared, int group_index, int thread)
      : p(launch), s(shared), group(group_index), warp(thread / 32), lane(thread % 32) {}

  // Row of the tile that holds the thread's values `i`.
  __device__ int row(int i) const { return group * 64 + warp * 16 + lane / 4 + 8 * i; }

  __device__ void TakeTurn() { NamedSync(1 + group, 256); }
  __device__ void PassTurn() { NamedArrive(1 + (group + 1) % kGroups, 256); }

  __device__ void Release(uint64_t* empty) {
    if (lane == 0) BarrierArrive(empty);
  }

  __device__ void StartScores(uint32_t step) {
    rows.StartScores(SharedAddress(s.q) + group * 64 * 128, Shared::kQueryHalfBytes,
                     SharedAddress(s.k[step % Shared::kStages]));
  }

  __device__ void WaitKeys(uint32_t step) {
    BarrierWait(&s.k_full[step % Shared::kStages], step / Shared::kStages & 1);
  }

  // Waits for a block's values; what no row of the tile sees is unknown memory: it becomes 0, since
  // 0 times NaN is NaN. Every warpgroup writes the same zeros for itself.
  __device__ void WaitValues(const PrefillTile& tile, uint32_t step, int token) {
    const uint32_t stage = step % Shared::kStages;
    BarrierWait(&s.v_full[stage], step / Shared::kStages & 1);
    if (token >= tile.kv_begin && token + kPrefillBlockTokens <= tile.kv_end) return;
    const int begin = max(0, tile.kv_begin - token);
    const int end = min(kPrefillBlockTokens, tile.kv_end - token);
    for (int half = 0; half < Shared::kHalves; ++half) {
      uint4* vectors = reinterpret_cast<uint4*>(s.v[stage] + half * kPrefillBlockTokens * 128);
      for (int i = warp * 32 + lane; i < kPrefillBlockTokens * 8; i += 128) {
        if (i < begin * 8 || i >= end * 8) vectors[i] = make_uint4(0, 0, 0, 0);
      }
    }
    FenceAsyncShared();
    NamedSync(1 + kGroups + group, 128);
  }

  __device__ void StartValues(uint32_t step, bool first) {
    rows.StartValues(SharedAddress(s.v[step % Shared::kStages]), first);
  }

  __device__ void MaskBlock(const PrefillTile& tile, int token) {
    const int first = tile.position + ((group * 64) >> p.heads_shift);
    const int last = tile.position + ((group * 64 + 63) >> p.heads_shift);
    const bool future = token + kPrefillBlockTokens - 1 > first;
    const bool past = p.window > 0 && token <= last - p.window;
    if (!future && !past) return;
    const int right[2] = {tile.position + (row(0) >> p.heads_shift) - token,
                          tile.position + (row(1) >> p.heads_shift) - token};
    int left[2] = {0, 0};
    if (p.window > 0) {
      left[0] = right[0] - p.window + 1;
      left[1] = right[1] - p.window + 1;
    }
    rows.Mask(left, right, lane);
  }

  // `step`: number of the tile's first block, counted over all tiles.
  __device__ void Compute(const PrefillTile& tile, uint32_t step) {
    const PrefillRange range(tile);
    const int count = range.count();
    WaitKeys(step);
    StartScores(step);
    WgmmaWait<0>();
    FenceRegisters(rows.score);
    Release(&s.k_empty[step % Shared::kStages]);
    if (count == 1) Release(&s.q_empty);
    MaskBlock(tile, range.token(0));
    rows.template Softmax<true>(p.scale_log2);
    if (count > 1) WaitKeys(step + 1);
    rows.PackWeights();
    for (int b = 1; b < count; ++b) {
      const uint32_t k_step = step + b;
      const uint32_t v_step = k_step - 1;
      if (b == 1) WaitValues(tile, v_step, range.token(0));
      TakeTurn();
      StartScores(k_step);
      BarrierWait(&s.v_full[v_step % Shared::kStages], v_step / Shared::kStages & 1);
      StartValues(v_step, b == 1);
      PassTurn();
      WgmmaWait<1>();
      FenceRegisters(rows.score);
      Release(&s.k_empty[k_step % Shared::kStages]);
      if (b + 1 == count) Release(&s.q_empty);
      MaskBlock(tile, range.token(b));
      rows.template Softmax<false>(p.scale_log2);
      FenceRegisters(rows.score);
      if (b + 1 < count) WaitKeys(k_step + 1);
      WgmmaWait<0>();
      FenceRegisters(rows.out);
      Release(&s.v_empty[v_step % Shared::kStages]);
      rows.PackWeights();
      rows.Rescale();
    }
    const uint32_t v_step = step + count - 1;
    WaitValues(tile, v_step, range.token(count - 1));
    StartValues(v_step, count == 1);
    WgmmaWait<0>();
    FenceRegisters(rows.out);
    Release(&s.v_empty[v_step % Shared::kStages]);
  }

  // Divides by the sums and writes the rows, 16 bytes a lane. Returns which of the thread's two
  // rows (bits 0, 1) needs ExactRow.
  __device__ uint32_t Store(const PrefillTile& tile) {
    std::byte* stage = s.out[group * 4 + warp];
    uint32_t doubtful = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float sum = QuadSum(rows.sum[i]);
      const float inverse = 1.0f / sum;
      float finite = 0.0f;
      std::byte* line = stage + (lane / 4 + 8 * i) * Shared::kOutRowBytes + lane % 4 * 4;
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j) {
        const float a = rows.out[4 * j + 2 * i] * inverse;
        const float b = rows.out[4 * j + 2 * i + 1] * inverse;
        finite = fmaf(a, 0.0f, fmaf(b, 0.0f, finite));
        *reinterpret_cast<uint32_t*>(line + j * 16) = T::FromFloat2(a, b);
      }
      // A NaN sum comes from visible scores: then NaN is right.
      if (finite != 0.0f && sum == sum) doubtful |= 1u << i;
    }
    __syncwarp();
    constexpr int kVectors = kDim / 8;  // of a row
#pragma unroll
    for (int i = 0; i < 16 * kVectors / 32; ++i) {
      const int line = (i * 32 + lane) / kVectors;
      const int vector = (i * 32 + lane) % kVectors;
      const int r = group * 64 + warp * 16 + line;
      const int query = r >> p.heads_shift;
      if (query >= tile.queries) continue;
      const int head = tile.head + r - (query << p.heads_shift);
      typename T::Value* out = static_cast<typename T::Value*>(p.out) +
                               (tile.row + query) * p.out_stride + head * kDim + vector * 8;
      *reinterpret_cast<uint4*>(out) =
          *reinterpret_cast<const uint4*>(stage + line * Shared::kOutRowBytes + vector * 16);
    }
    __syncwarp();
    return doubtful;
  }

  // The sums as they are, for the merge.
  __device__ void StorePart(const PrefillTile& tile) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int64_t place = static_cast<int64_t>(tile.slot) * Shared::kRows + row(i);
      const float sum = QuadSum(rows.sum[i]);
      if (lane % 4 == 0) p.stats[place] = make_float2(rows.max[i] * p.scale_log2, sum);
      float* line = p.sums + place * kDim + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j) {
        *reinterpret_cast<float2*>(line + j * 8) =
            make_float2(rows.out[4 * j + 2 * i], rows.out[4 * j + 2 * i + 1]);
      }
    }
  }

  __device__ void Correct(const PrefillTile& tile, uint32_t doubtful) {
    for (int i = 0; i < 2; ++i) {
      uint32_t lanes = __ballot_sync(0xFFFFFFFFu, doubtful >> i & 1);
      lanes |= lanes >> 1 | lanes >> 2 | lanes >> 3;  // any lane of a quad, seen at its first
      for (int quad = 0; quad < 8; ++quad) {
        const int r = group * 64 + warp * 16 + quad + 8 * i;
        if ((lanes >> (quad * 4) & 1) == 0 || r >> p.heads_shift >= tile.queries) continue;
        ExactRow<T, kDim>{p, tile, lane}.Compute(r);
      }
    }
  }

  __device__ void Run() {
    if (group == kGroups - 1) PassTurn();
    uint32_t step = 0;
    for (uint32_t round = 0;; ++round) {
      BarrierWait(&s.q_full, round & 1);
      const PrefillTile& tile = s.tiles[round & 1];
      if (tile.queries == 0) break;
      __syncwarp();
      Compute(tile, step);
      step += PrefillRange(tile).count();
      if (tile.slot >= 0) {
        StorePart(tile);
        continue;
      }
      const uint32_t doubtful = Store(tile);
      if (__any_sync(0xFFFFFFFFu, doubtful != 0)) Correct(tile, doubtful);
    }
  }
};

// Registers of a thread by role. The kernel starts with as many as __launch_bounds__ leaves (a
// multiple of 8), and the roles together must not want more: a warpgroup would wait for ever.
template <int kGroups>
struct PrefillRegisters {
  static constexpr int kStart = 65536 / ((kGroups + 1) * 128) / 8 * 8;
  static constexpr int kLoad = kGroups == 2 ? 40 : 32;
  static constexpr int kCompute = kGroups == 2 ? 232 : 160;
  static_assert(kLoad + kGroups * kCompute <= (kGroups + 1) * kStart);
};
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <typename T, int kDim, int kGroups>
__global__ void __launch_bounds__((kGroups + 1) * 128, 1)
    PrefillKernel(const __grid_constant__ PrefillLaunch p) {
  using Shared = PrefillShared<kDim, kGroups>;
  using Registers = PrefillRegisters<kGroups>;
  extern __shared__ std::byte memory[];
  const uint32_t misaligned = SharedAddress(memory) & 1023;
  Shared& s = *reinterpret_cast<Shared*>(memory + (misaligned ? 1024 - misaligned : 0));
  if (threadIdx.x == 0) {
    BarrierInit(&s.q_full, 1);
    BarrierInit(&s.q_empty, kGroups * 4);
    for (int i = 0; i < Shared::kStages; ++i) {
      BarrierInit(&s.k_full[i], 1);
      BarrierInit(&s.v_full[i], 1);
      BarrierInit(&s.k_empty[i], kGroups * 4);
      BarrierInit(&s.v_empty[i], kGroups * 4);
    }
    FenceBarrierInit();
  }
  __syncthreads();
  const int group = __shfl_sync(0xFFFFFFFFu, static_cast<int>(threadIdx.x) / 128, 0);
  if (group == 0) {
    GiveRegisters<Registers::kLoad>();
    if (threadIdx.x < 32) LoadTiles(p, s, static_cast<int>(threadIdx.x));
  } else {
    TakeRegisters<Registers::kCompute>();
    PrefillGroup<T, kDim, kGroups>(p, s, group - 1, static_cast<int>(threadIdx.x) % 128).Run();
  }
}

}  // namespace baton::kernels::cuda
