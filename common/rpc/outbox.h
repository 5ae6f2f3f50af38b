#pragma once

#include <cstddef>
#include <deque>
#include <utility>

namespace baton::rpc {

// How much one end of a stream holds for a peer that reads too slowly.
struct StreamLimits {
  size_t queued_messages = 4096;
  size_t queued_bytes = size_t{64} << 20;  // serialized size
};

// Messages on their way out of one stream; the front one may be in flight. Not thread-safe: guarded
// by the mutex of its reactor. References to the front stay valid until PopFront.
template <typename Message>
class Outbox {
 public:
  explicit Outbox(StreamLimits limits) : limits_(limits) {}

  // False when the bound would be passed; an empty box takes any message.
  [[nodiscard]] bool Push(Message message) {
    const size_t bytes = message.ByteSizeLong();
    if (!messages_.empty() &&
        (messages_.size() >= limits_.queued_messages || bytes_ + bytes > limits_.queued_bytes)) {
      return false;
    }
    bytes_ += bytes;
    messages_.push_back({std::move(message), bytes});
    return true;
  }

  bool empty() const { return messages_.empty(); }
  const Message& Front() const { return messages_.front().message; }
  void PopFront() {
    bytes_ -= messages_.front().bytes;
    messages_.pop_front();
  }

  // Drops what is not in flight.
  void Clear(bool keep_front) {
    while (messages_.size() > (keep_front ? 1u : 0u)) {
      bytes_ -= messages_.back().bytes;
      messages_.pop_back();
    }
  }

 private:
  struct Entry {
    Message message;
    size_t bytes;
  };
  const StreamLimits limits_;
  std::deque<Entry> messages_;
  size_t bytes_ = 0;
};

}  // namespace baton::rpc
