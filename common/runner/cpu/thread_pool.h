#pragma once

#include <atomic>
#include <memory>
#include <type_traits>
#include <vector>

#include "common/base/clock.h"
#include "common/base/thread.h"

namespace baton {

// Runs a function of (part, parts) on a fixed number of threads and waits for all of them: the
// barrier between two kernels. The caller is part 0. Run is called by one thread at a time.
// Waiting threads spin for at most 50 µs, then sleep in the kernel until the next Run.
class ThreadPool {
 public:
  // `threads` ≥ 1, the caller included.
  explicit ThreadPool(int threads);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const { return threads_; }

  // Calls fn(part, threads()) once for each part and returns when all have returned. Everything
  // they wrote is visible to the caller. Allocates nothing. `fn` must not call Run.
  template <typename Function>
  void Run(Function&& fn) {
    using Target = std::remove_reference_t<Function>;
    Dispatch(
        [](void* target, int part, int parts) { (*static_cast<Target*>(target))(part, parts); },
        const_cast<void*>(static_cast<const void*>(std::addressof(fn))));
  }

 private:
  using Trampoline = void (*)(void* target, int part, int parts);

  void Dispatch(Trampoline call, void* target);
  void Work(int part);
  // Waits until `value` differs from `seen`, and returns what it became.
  uint32_t AwaitChange(const std::atomic<uint32_t>& value, uint32_t seen);

  const int threads_;
  const RealClock clock_;
  // Written by Dispatch before `round_` changes, read by the workers after.
  Trampoline call_ = nullptr;
  void* target_ = nullptr;
  bool stopping_ = false;
  // On cache lines of their own: the caller writes one, the workers the other.
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<uint32_t> working_{0};
  std::vector<Thread> workers_;
};

}  // namespace baton
