#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/rpc/server.h"
#include "common/rpc/services.h"

namespace baton::rpc {

// Far enough never to decide a test that works; a test that hangs fails after it.
inline TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(30); }

// Records the events of one stream; waits are bounded.
template <typename In>
class Recorder {
 public:
  StreamSink<In> Sink() {
    return [state = state_](StreamEvent<In> event) {
      std::lock_guard lock(state->mutex);
      if (auto* message = std::get_if<In>(&event)) {
        state->messages.push_back(std::move(*message));
      } else {
        state->ends.push_back(std::get<StreamClosed>(event).status);
      }
      state->late +=
          state->ends.size() > 1 || (!state->ends.empty() && std::holds_alternative<In>(event));
      state->changed.notify_all();
    };
  }

  // The first `count` messages, fewer when they do not come.
  std::vector<In> Messages(size_t count) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_until(lock, Soon(), [&] { return state_->messages.size() >= count; });
    return state_->messages;
  }

  // The status of StreamClosed; empty when it does not come.
  std::optional<absl::Status> End() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_until(lock, Soon(), [&] { return !state_->ends.empty(); });
    if (state_->ends.empty()) return std::nullopt;
    return state_->ends.front();
  }

  // The name of its code; "none" when it does not come.
  std::string EndCode() {
    const auto end = End();
    return end ? absl::StatusCodeToString(end->code()) : "none";
  }

  size_t message_count() const {
    std::lock_guard lock(state_->mutex);
    return state_->messages.size();
  }
  bool ended() const {
    std::lock_guard lock(state_->mutex);
    return !state_->ends.empty();
  }
  // Events after StreamClosed: must stay 0.
  int late() const {
    std::lock_guard lock(state_->mutex);
    return state_->late;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<In> messages;
    std::vector<absl::Status> ends;
    int late = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

using HandoffClientEnd = EventStream<v1::HandoffRequest, v1::HandoffResponse>;
using HandoffServerEnd = EventStream<v1::HandoffResponse, v1::HandoffRequest>;

inline v1::HandoffRequest Request(std::string id, uint32_t attempt = 0) {
  v1::HandoffRequest request;
  request.set_transfer_id(std::move(id));
  request.set_attempt(attempt);
  return request;
}

// A server for one Handoff acceptor, with its channels.
class HandoffFixture {
 public:
  explicit HandoffFixture(StreamAcceptor<v1::HandoffResponse, v1::HandoffRequest> acceptor,
                          StreamLimits server_limits = {}, StreamLimits client_limits = {})
      : service(MakeHandoffService(std::move(acceptor), server_limits)),
        server(*RpcServer::Create({}, {service.get()})),
        opener(HandoffOpener(channels, client_limits)) {}

  std::string endpoint() const { return "127.0.0.1:" + std::to_string(server->port()); }
  std::unique_ptr<HandoffClientEnd> Open(StreamSink<v1::HandoffResponse> sink) {
    return opener(endpoint(), Soon(), std::move(sink));
  }

  ChannelPool channels;
  std::unique_ptr<grpc::Service> service;
  std::unique_ptr<RpcServer> server;
  StreamOpener<v1::HandoffRequest, v1::HandoffResponse> opener;
};

// An acceptor that keeps the server's ends for the test and records what arrives on each.
class Accepted {
 public:
  struct Stream {
    std::shared_ptr<HandoffServerEnd> end;
    Recorder<v1::HandoffRequest> events;
    TimePoint deadline;
  };

  StreamAcceptor<v1::HandoffResponse, v1::HandoffRequest> Acceptor() {
    return [this](std::shared_ptr<HandoffServerEnd> end, TimePoint deadline) {
      std::lock_guard lock(mutex_);
      streams_.push_back({std::move(end), {}, deadline});
      changed_.notify_all();
      return streams_.back().events.Sink();
    };
  }

  // The n-th accepted stream, from 0.
  Stream Get(size_t n = 0) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, Soon(), [&] { return streams_.size() > n; });
    return streams_.at(n);
  }
  // Drops the test's references to the server's ends.
  void Drop() {
    std::vector<Stream> dropped;
    std::lock_guard lock(mutex_);
    dropped.swap(streams_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Stream> streams_;
};

// Answers every message with one of the same transfer id, and a half-close with OK.
inline StreamAcceptor<v1::HandoffResponse, v1::HandoffRequest> Echo() {
  return [](std::shared_ptr<HandoffServerEnd> end, TimePoint) {
    return [end = std::move(end)](StreamEvent<v1::HandoffRequest> event) {
      if (auto* request = std::get_if<v1::HandoffRequest>(&event)) {
        v1::HandoffResponse response;
        response.set_transfer_id(request->transfer_id());
        response.set_attempt(request->attempt());
        (void)end->Send(std::move(response));
      } else if (std::get<StreamClosed>(event).status.ok()) {
        end->Close(absl::OkStatus());
      }
    };
  };
}

}  // namespace baton::rpc
