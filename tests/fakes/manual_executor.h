#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "common/engine/executor.h"

namespace baton {

// An Executor whose lanes move when the test says so. Single-threaded.
class ManualExecutor : public Executor {
 public:
  void Submit(Lane lane, std::function<void()> work) override {
    queue(lane).push_back(std::move(work));
  }

  int waiting(Lane lane) const {
    return static_cast<int>((lane == Lane::kCompute ? compute_ : copy_).size());
  }
  // Runs the oldest work of a lane; false when it has none.
  bool RunOne(Lane lane) {
    auto& work = queue(lane);
    if (work.empty()) return false;
    auto next = std::move(work.front());
    work.pop_front();
    next();
    return true;
  }
  // Runs both lanes until nothing waits; returns how much ran.
  int RunAll() {
    int count = 0;
    while (RunOne(Lane::kCopy) || RunOne(Lane::kCompute)) ++count;
    return count;
  }
  // Forgets what waits, as the end of a process does.
  void Drop() {
    compute_.clear();
    copy_.clear();
  }

 private:
  std::deque<std::function<void()>>& queue(Lane lane) {
    return lane == Lane::kCompute ? compute_ : copy_;
  }

  std::deque<std::function<void()>> compute_;
  std::deque<std::function<void()>> copy_;
};

}  // namespace baton
