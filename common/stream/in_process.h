#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/stream/event_stream.h"

namespace baton {

// Carries the events of in-process streams, one lane per direction of each stream. Immediate: an
// event reaches its sink inside Send. Stepped: events wait until Deliver, so that a test decides in
// which order the lanes move; the order within a lane is kept. Thread-safe.
class InProcessLanes {
 public:
  enum class Mode { kImmediate, kStepped };
  explicit InProcessLanes(Mode mode) : mode_(mode) {}

  int NewLane();
  void Post(int lane, std::function<void()> delivery);
  // Lanes with waiting deliveries, ascending.
  std::vector<int> Waiting() const;
  // Delivers the oldest event of a lane; false when it has none.
  bool Deliver(int lane);
  // Delivers until nothing waits.
  void DeliverAll();

 private:
  const Mode mode_;
  mutable std::mutex mutex_;
  int next_lane_ = 0;                                       // guarded by mutex_
  std::map<int, std::deque<std::function<void()>>> lanes_;  // guarded by mutex_
};

namespace in_process_internal {

// What both ends of a stream share. The link dies with the second end.
template <typename C2S, typename S2C>
struct Link {
  std::mutex mutex;
  StreamSink<C2S> server_sink;  // null after its StreamClosed
  StreamSink<S2C> client_sink;
  bool client_half_closed = false;
  bool ended = false;
  int to_server = 0, to_client = 0;  // lanes
};

template <typename Sink, typename Event>
void Give(std::mutex& mutex, Sink& slot, Event event, bool last) {
  Sink sink;
  {
    std::lock_guard lock(mutex);
    if (last) {
      sink.swap(slot);
    } else {
      sink = slot;
    }
  }
  if (sink) sink(std::move(event));
}

}  // namespace in_process_internal

// One conversation (client messages C2S, server messages S2C) between components of one process.
// Endpoints are plain names. Must outlive its streams.
template <typename C2S, typename S2C>
class InProcessService {
  using Link = in_process_internal::Link<C2S, S2C>;

 public:
  explicit InProcessService(InProcessLanes& lanes) : lanes_(lanes) {}

  void Listen(const std::string& endpoint, StreamAcceptor<S2C, C2S> acceptor) {
    std::lock_guard lock(mutex_);
    acceptors_[endpoint] = std::move(acceptor);
  }

  // Takes an endpoint away and breaks its streams on both sides, as a crash of its process does.
  void Break(const std::string& endpoint) {
    std::vector<std::shared_ptr<Link>> links;
    {
      std::lock_guard lock(mutex_);
      acceptors_.erase(endpoint);
      auto [first, last] = links_.equal_range(endpoint);
      for (auto it = first; it != last; ++it) {
        if (auto link = it->second.lock()) links.push_back(std::move(link));
      }
      links_.erase(first, last);
    }
    for (auto& link : links) EndLink(link, Unavailable("stream to '{}' broke", endpoint), true);
  }

  std::unique_ptr<EventStream<C2S, S2C>> Open(const std::string& endpoint, TimePoint deadline,
                                              StreamSink<S2C> sink) {
    auto link = std::make_shared<Link>();
    link->client_sink = std::move(sink);
    link->to_server = lanes_.NewLane();
    link->to_client = lanes_.NewLane();
    StreamAcceptor<S2C, C2S> acceptor;
    {
      std::lock_guard lock(mutex_);
      if (auto it = acceptors_.find(endpoint); it != acceptors_.end()) acceptor = it->second;
      links_.emplace(endpoint, link);
    }
    if (acceptor) {
      StreamSink<C2S> server_sink = acceptor(std::make_shared<ServerEnd>(link, lanes_), deadline);
      std::lock_guard lock(link->mutex);
      link->server_sink = std::move(server_sink);
    } else {
      EndLink(link, Unavailable("nothing listens at '{}'", endpoint), false);
    }
    return std::make_unique<ClientEnd>(link, lanes_);
  }

 private:
  // A sink may own what its destruction calls back into the link: it dies outside the lock.
  template <typename Sink>
  static void Drop(Link& link, Sink& slot) {
    Sink dropped;
    std::lock_guard lock(link.mutex);
    dropped.swap(slot);
  }

  // Ends the stream: the client sees `status`; the server sees CANCELLED when `tell_server`.
  void EndLink(const std::shared_ptr<Link>& link, absl::Status status, bool tell_server) {
    EndLink(lanes_, link, std::move(status), tell_server);
  }
  static void EndLink(InProcessLanes& lanes, const std::shared_ptr<Link>& link, absl::Status status,
                      bool tell_server) {
    {
      std::lock_guard lock(link->mutex);
      if (link->ended) return;
      link->ended = true;
    }
    if (tell_server) {
      lanes.Post(link->to_server, [link] {
        in_process_internal::Give(link->mutex, link->server_sink,
                                  StreamEvent<C2S>(StreamClosed{Cancelled("the client went away")}),
                                  true);
      });
    }
    lanes.Post(link->to_client, [link, status = std::move(status)] {
      in_process_internal::Give(link->mutex, link->client_sink,
                                StreamEvent<S2C>(StreamClosed{status}), true);
    });
  }

  class ClientEnd : public EventStream<C2S, S2C> {
   public:
    ClientEnd(std::shared_ptr<Link> link, InProcessLanes& lanes)
        : link_(std::move(link)), lanes_(lanes) {}
    ~ClientEnd() override {
      Drop(*link_, link_->client_sink);
      EndLink(lanes_, link_, Cancelled("stream destroyed"), true);
    }
    absl::Status Send(C2S message) override {
      {
        std::lock_guard lock(link_->mutex);
        if (link_->ended || link_->client_half_closed) return Unavailable("the stream has ended");
      }
      lanes_.Post(link_->to_server, [link = link_, message = std::move(message)]() mutable {
        in_process_internal::Give(link->mutex, link->server_sink,
                                  StreamEvent<C2S>(std::move(message)), false);
      });
      return absl::OkStatus();
    }
    void Close(absl::Status status) override {
      if (!status.ok()) return EndLink(lanes_, link_, std::move(status), true);
      {
        std::lock_guard lock(link_->mutex);
        if (link_->ended || link_->client_half_closed) return;
        link_->client_half_closed = true;
      }
      lanes_.Post(link_->to_server, [link = link_] {
        in_process_internal::Give(link->mutex, link->server_sink,
                                  StreamEvent<C2S>(StreamClosed{absl::OkStatus()}), true);
      });
    }

   private:
    std::shared_ptr<Link> link_;
    InProcessLanes& lanes_;
  };

  class ServerEnd : public EventStream<S2C, C2S> {
   public:
    ServerEnd(std::shared_ptr<Link> link, InProcessLanes& lanes)
        : link_(std::move(link)), lanes_(lanes) {}
    ~ServerEnd() override {
      Drop(*link_, link_->server_sink);
      EndLink(lanes_, link_, Cancelled("the server dropped the stream"), false);
    }
    absl::Status Send(S2C message) override {
      {
        std::lock_guard lock(link_->mutex);
        if (link_->ended) return Unavailable("the stream has ended");
      }
      lanes_.Post(link_->to_client, [link = link_, message = std::move(message)]() mutable {
        in_process_internal::Give(link->mutex, link->client_sink,
                                  StreamEvent<S2C>(std::move(message)), false);
      });
      return absl::OkStatus();
    }
    void Close(absl::Status status) override {
      EndLink(lanes_, link_, std::move(status), false);
      Drop(*link_, link_->server_sink);
    }

   private:
    std::shared_ptr<Link> link_;
    InProcessLanes& lanes_;
  };

  InProcessLanes& lanes_;
  std::mutex mutex_;
  std::map<std::string, StreamAcceptor<S2C, C2S>> acceptors_;  // guarded by mutex_
  std::multimap<std::string, std::weak_ptr<Link>> links_;      // guarded by mutex_
};

}  // namespace baton
