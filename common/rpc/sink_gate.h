#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "common/stream/event_stream.h"

namespace baton::rpc {

// Hands events to a sink one at a time, whichever gRPC thread they come from, and nothing after
// StreamClosed or Detach. Thread-safe.
template <typename In>
class SinkGate {
 public:
  void Attach(StreamSink<In> sink) {
    std::lock_guard lock(mutex_);
    if (!detached_) sink_ = std::make_shared<StreamSink<In>>(std::move(sink));
  }

  void Deliver(StreamEvent<In> event) {
    const bool last = std::holds_alternative<StreamClosed>(event);
    std::shared_ptr<StreamSink<In>> sink;  // outlives the call and dies outside the lock
    {
      std::unique_lock lock(mutex_);
      idle_.wait(lock, [this] { return running_ == std::thread::id(); });
      sink = last ? std::exchange(sink_, nullptr) : sink_;
      if (!sink) return;
      running_ = std::this_thread::get_id();
    }
    (*sink)(std::move(event));
    {
      std::lock_guard lock(mutex_);
      running_ = std::thread::id();
    }
    idle_.notify_all();
  }

  // No later event reaches the sink; one that is under way may still be in it.
  void Detach() {
    std::shared_ptr<StreamSink<In>> dropped;  // dies outside the lock
    std::lock_guard lock(mutex_);
    detached_ = true;
    dropped = std::exchange(sink_, nullptr);
  }

  // As Detach, and when it returns no call is in the sink, except the caller's own.
  void DetachAndWait() {
    Detach();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] {
      return running_ == std::thread::id() || running_ == std::this_thread::get_id();
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  std::shared_ptr<StreamSink<In>> sink_;  // guarded by mutex_
  std::thread::id running_;               // guarded by mutex_; whose call is in the sink
  bool detached_ = false;                 // guarded by mutex_
};

}  // namespace baton::rpc
