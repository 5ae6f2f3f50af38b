#include "common/runner/cpu/thread_pool.h"

#include <fmt/format.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/base/check.h"

namespace baton {
namespace {

constexpr Duration kSpin = std::chrono::microseconds(50);
constexpr int kPausesPerLook = 32;  // reading the clock costs about as much as these

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  BATON_CHECK(threads >= 1);
  for (int part = 1; part < threads; ++part) {
    workers_.emplace_back(fmt::format("cpu-{}", part), [this, part] { Work(part); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

void ThreadPool::Dispatch(Trampoline call, void* target) {
  if (threads_ == 1) {
    call(target, 0, 1);
    return;
  }
  call_ = call;
  target_ = target;
  working_.store(static_cast<uint32_t>(threads_ - 1), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  call(target, 0, threads_);
  for (uint32_t left = working_.load(std::memory_order_acquire); left != 0;) {
    left = AwaitChange(working_, left);
  }
}

void ThreadPool::Work(int part) {
  for (uint32_t seen = 0;;) {
    seen = AwaitChange(round_, seen);
    if (stopping_) return;
    call_(target_, part, threads_);
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) working_.notify_one();
  }
}

uint32_t ThreadPool::AwaitChange(const std::atomic<uint32_t>& value, uint32_t seen) {
  uint32_t now = value.load(std::memory_order_acquire);
  if (now != seen) return now;
  for (const TimePoint end = clock_.Now() + kSpin; clock_.Now() < end;) {
    for (int i = 0; i < kPausesPerLook; ++i) {
      now = value.load(std::memory_order_acquire);
      if (now != seen) return now;
      Pause();
    }
  }
  value.wait(seen, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace baton
