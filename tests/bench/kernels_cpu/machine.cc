#include "tests/bench/kernels_cpu/machine.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <limits>
#include <thread>
#include <vector>

#include "kernels/numeric/aligned_buffer.h"
#include "kernels/numeric/partition.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/kernels_cpu/machine.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/dot-inl.h"

BATON_BEFORE_DOT_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

constexpr int kChains = 12;  // enough independent sums to hide the latency of one

// Returns the operations done; `sink` keeps the result alive.
double FmaLoop(int64_t steps, float* sink) {
  const DF df;
  VF acc[kChains];
  const VF x = hn::Set(df, 1.0f + *sink);
  // Different start values: equal chains would be merged into one.
  BATON_UNROLL for (int i = 0; i < kChains; ++i) acc[i] =
      hn::Set(df, *sink + static_cast<float>(i));
  for (int64_t i = 0; i < steps; ++i) {
    BATON_UNROLL for (VF& a : acc) a = hn::MulAdd(x, x, a);
  }
  VF sum = hn::Zero(df);
  BATON_UNROLL for (VF& a : acc) sum = hn::Add(sum, a);
  *sink = hn::GetLane(sum) * 1e-30f;
  return 2.0 * kLanes * kChains * static_cast<double>(steps);
}

double DotLoop(int64_t steps, float* sink) {
  const DI di;
  VI acc[kChains];
  const Weights8 w = PrepareWeights(hn::Set(di, static_cast<int32_t>(*sink) + 0x01020304));
  const VI a = hn::Set(di, 0x04030201);
  BATON_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = hn::Set(di, i);
  for (int64_t i = 0; i < steps; ++i) {
    BATON_UNROLL for (VI& s : acc) s = Dot8(s, w, a);
  }
  VI sum = hn::Zero(di);
  BATON_UNROLL for (VI& s : acc) sum = hn::Add(sum, s);
  *sink = static_cast<float>(hn::GetLane(sum)) * 1e-30f;
  return 8.0 * kLanes * kChains * static_cast<double>(steps);
}

void ReadLoop(const uint8_t* data, int64_t bytes, float* sink) {
  const DI di;
  VI acc[4];
  BATON_UNROLL for (VI& s : acc) s = hn::Zero(di);
  const auto* from = reinterpret_cast<const int32_t*>(data);
  for (int64_t i = 0; i + 4 * kLanes <= bytes / 4; i += 4 * kLanes) {
    BATON_UNROLL for (int v = 0; v < 4; ++v) {
      acc[v] = hn::Xor(acc[v], hn::Load(di, from + i + v * kLanes));
    }
  }
  const VI all = hn::Xor(hn::Xor(acc[0], acc[1]), hn::Xor(acc[2], acc[3]));
  *sink = static_cast<float>(hn::GetLane(all)) * 1e-30f;
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {
namespace {

HWY_EXPORT(FmaLoop);
HWY_EXPORT(DotLoop);
HWY_EXPORT(ReadLoop);

}  // namespace

double PeakFma(int64_t steps, float* sink) { return HWY_DYNAMIC_DISPATCH(FmaLoop)(steps, sink); }
double PeakDot(int64_t steps, float* sink) { return HWY_DYNAMIC_DISPATCH(DotLoop)(steps, sink); }
void PeakRead(const uint8_t* data, int64_t bytes, float* sink) {
  HWY_DYNAMIC_DISPATCH(ReadLoop)(data, bytes, sink);
}

}  // namespace baton::kernels

namespace baton::bench {
namespace {

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// All threads start a run together; spinning keeps the start within a fraction of a microsecond.
class SpinBarrier {
 public:
  explicit SpinBarrier(int threads) : threads_(threads) {}
  void Arrive() {
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    while (round_.load(std::memory_order_acquire) == round) {
    }
  }

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<int> round_{0};
};

double ReadSpeed(int threads, int64_t bytes) {
  const kernels::AlignedBuffer<uint8_t> data(static_cast<size_t>(bytes));
  std::vector<float> sinks(static_cast<size_t>(threads) * 64);
  const double seconds = FastestRun(threads, 10, [&](int part, int parts) {
    const kernels::Range share = kernels::Partition(bytes, part, parts, 4096);
    kernels::PeakRead(data.data() + share.begin, share.size(), &sinks[part * 64]);
  });
  return static_cast<double>(bytes) / seconds;
}

}  // namespace

double FastestRun(int threads, int repeats, const std::function<void(int, int)>& part) {
  SpinBarrier barrier(threads);
  std::vector<double> seconds(static_cast<size_t>(threads));
  double fastest = std::numeric_limits<double>::infinity();
  const auto run = [&](int index) {
    for (int i = 0; i < repeats; ++i) {
      barrier.Arrive();
      const double start = ThreadSeconds();
      part(index, threads);
      seconds[static_cast<size_t>(index)] = ThreadSeconds() - start;
      barrier.Arrive();
      if (index == 0)
        fastest = std::min(fastest, *std::max_element(seconds.begin(), seconds.end()));
    }
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(run, t);
  run(0);
  return fastest;
}

Peaks MeasurePeaks(int threads) {
  constexpr int64_t kSteps = 100000;
  std::vector<float> sinks(static_cast<size_t>(threads) * 64);
  double fma_ops = 0.0;
  double dot_ops = 0.0;
  const double fma = FastestRun(threads, 20, [&](int part, int) {
    const double ops = kernels::PeakFma(kSteps, &sinks[part * 64]);
    if (part == 0) fma_ops = ops;
  });
  const double dot = FastestRun(threads, 20, [&](int part, int) {
    const double ops = kernels::PeakDot(kSteps, &sinks[part * 64]);
    if (part == 0) dot_ops = ops;
  });
  return {fma_ops * threads / fma, dot_ops * threads / dot, ReadSpeed(threads, 16 << 20),
          ReadSpeed(threads, 512 << 20)};
}

}  // namespace baton::bench
#endif
