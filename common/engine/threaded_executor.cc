#include "common/engine/threaded_executor.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

ThreadedExecutor::ThreadedExecutor(const std::string& name, Clock& clock)
    : compute_queue_(kMaxQueued, clock),
      copy_queue_(kMaxQueued, clock),
      compute_thread_(name + "-compute", [this] { RunLane(compute_queue_); }),
      copy_thread_(name + "-copy", [this] { RunLane(copy_queue_); }) {}

void ThreadedExecutor::Submit(Lane lane, std::function<void()> work) {
  Queue& queue = lane == Lane::kCompute ? compute_queue_ : copy_queue_;
  const bool taken = queue.TryPush(std::move(work));
  BATON_CHECK(taken || queue.closed());
}

void ThreadedExecutor::Stop() {
  compute_queue_.Close();
  copy_queue_.Close();
  compute_thread_.Join();
  copy_thread_.Join();
}

void ThreadedExecutor::RunLane(Queue& queue) {
  while (auto work = queue.PopUntil(TimePoint::max())) (*work)();
}

}  // namespace baton
