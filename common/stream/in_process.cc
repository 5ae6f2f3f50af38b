#include "common/stream/in_process.h"

namespace baton {

int InProcessLanes::NewLane() {
  std::lock_guard lock(mutex_);
  return next_lane_++;
}

void InProcessLanes::Post(int lane, std::function<void()> delivery) {
  if (mode_ == Mode::kImmediate) return delivery();
  std::lock_guard lock(mutex_);
  lanes_[lane].push_back(std::move(delivery));
}

std::vector<int> InProcessLanes::Waiting() const {
  std::lock_guard lock(mutex_);
  std::vector<int> waiting;
  for (const auto& [lane, deliveries] : lanes_) waiting.push_back(lane);
  return waiting;
}

bool InProcessLanes::Deliver(int lane) {
  std::function<void()> delivery;
  {
    std::lock_guard lock(mutex_);
    auto it = lanes_.find(lane);
    if (it == lanes_.end()) return false;
    delivery = std::move(it->second.front());
    it->second.pop_front();
    if (it->second.empty()) lanes_.erase(it);
  }
  delivery();
  return true;
}

void InProcessLanes::DeliverAll() {
  for (std::vector<int> waiting = Waiting(); !waiting.empty(); waiting = Waiting()) {
    for (int lane : waiting) Deliver(lane);
  }
}

}  // namespace baton
