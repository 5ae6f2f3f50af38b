#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "common/base/clock.h"

namespace baton {

// The last event of a stream. On the client's side: the status the server ended with, or why the
// stream broke. On the server's side: OK when the client closed its half in good order, CANCELLED
// when it went away.
struct StreamClosed {
  absl::Status status;
};

template <typename In>
using StreamEvent = std::variant<In, StreamClosed>;

// Receives the events of one stream in order: any number of messages, then one StreamClosed, then
// nothing. Called on a transport's thread: it must only enqueue, and never calls back into the
// stream.
template <typename In>
using StreamSink = std::function<void(StreamEvent<In>)>;

// One end of a bidirectional stream of typed messages (Out leaves, In arrives through the sink).
//
// Threading: all methods are thread-safe and never block.
// Ordering: messages of one direction arrive in the order of Send.
// Lifetime: destroying an end that is not closed cancels the stream. After Close or destruction no
// further event reaches the sink of this end, except the StreamClosed that answers Close.
template <typename Out, typename In>
class EventStream {
 public:
  virtual ~EventStream() = default;

  // Queues a message. UNAVAILABLE after the end of the stream; RESOURCE_EXHAUSTED when the peer
  // reads too slowly and the bound of the queue is reached, which also ends the stream.
  virtual absl::Status Send(Out message) = 0;

  // Ends this side after the queued messages. Server: ends the stream with `status`. Client: OK
  // closes its half (the server may still send and decides the end); another status cancels.
  // Idempotent: the first call counts.
  virtual void Close(absl::Status status) = 0;
};

// Opens client ends to an endpoint ("host:port", or a name in process). Fails only for a malformed
// endpoint: an unreachable peer shows as StreamClosed{UNAVAILABLE}.
template <typename Out, typename In>
using StreamOpener = std::function<std::unique_ptr<EventStream<Out, In>>(
    const std::string& endpoint, TimePoint deadline, StreamSink<In> sink)>;

// A server's hook for a new stream: takes the server's end and returns the sink for its events. The
// id of the caller is whatever its first message says.
template <typename Out, typename In>
using StreamAcceptor =
    std::function<StreamSink<In>(std::shared_ptr<EventStream<Out, In>> stream, TimePoint deadline)>;

}  // namespace baton
