#pragma once

#include <functional>
#include <string>

#include "common/base/bounded_queue.h"
#include "common/base/clock.h"
#include "common/base/thread.h"
#include "common/engine/executor.h"

namespace baton {

// An Executor with one named thread per lane. Submit is thread-safe.
class ThreadedExecutor : public Executor {
 public:
  // `name` starts the names of the threads, at most 7 characters. `clock` outlives the executor.
  ThreadedExecutor(const std::string& name, Clock& clock);
  ~ThreadedExecutor() override { Stop(); }

  // Work in flight is limited by its owner (steps by one, copies by the arena): more than
  // kMaxQueued on a lane is a bug. After Stop the work is dropped.
  void Submit(Lane lane, std::function<void()> work) override;

  // Runs what was submitted, then joins. Idempotent.
  void Stop();

  static constexpr size_t kMaxQueued = 1 << 16;

 private:
  using Queue = BoundedQueue<std::function<void()>>;
  void RunLane(Queue& queue);

  Queue compute_queue_;
  Queue copy_queue_;
  Thread compute_thread_;
  Thread copy_thread_;
};

}  // namespace baton
