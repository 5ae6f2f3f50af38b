#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/client_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/deadline.h"
#include "common/rpc/outbox.h"
#include "common/rpc/sink_gate.h"
#include "common/rpc/status.h"
#include "common/stream/event_stream.h"

namespace baton::rpc {

// The client's half of one call. It keeps itself alive until gRPC is done with it (OnDone), which
// may be after its handle died.
template <typename Out, typename In>
class ClientReactor final : public grpc::ClientBidiReactor<Out, In>,
                            public std::enable_shared_from_this<ClientReactor<Out, In>> {
 public:
  ClientReactor(ChannelLease channel, StreamSink<In> sink, StreamLimits limits)
      : channel_(std::move(channel)), outbox_(limits) {
    gate_.Attach(std::move(sink));
  }

  void Start(const std::string& method, TimePoint deadline) {
    self_ = this->shared_from_this();
    context_.set_deadline(ToSystemTime(deadline));
    grpc::TemplatedGenericStub<Out, In>(channel_).PrepareBidiStreamingCall(&context_, method, {},
                                                                           this);
    // Send and Close start operations from outside reactions: the hold keeps OnDone away until the
    // read side has ended, after which they start none.
    this->AddHold();
    this->StartRead(&incoming_);
    this->StartCall();
  }

  absl::Status Send(Out message) {
    {
      std::lock_guard lock(mutex_);
      if (half_closed_ || ended_ || reason_) return Unavailable("the stream has ended");
      if (outbox_.Push(std::move(message))) {
        ProceedLocked();
        return absl::OkStatus();
      }
      reason_ = ResourceExhausted("the peer reads too slowly: the queue of the stream is full");
    }
    context_.TryCancel();
    return ResourceExhausted("the peer reads too slowly: the queue of the stream is full");
  }

  void Close(absl::Status status) {
    {
      std::lock_guard lock(mutex_);
      if (ended_ || reason_) return;
      if (status.ok()) {
        half_closed_ = true;
        ProceedLocked();
        return;
      }
      reason_ = std::move(status);
    }
    context_.TryCancel();
  }

  // The handle is gone.
  void Abandon() {
    gate_.DetachAndWait();
    Close(Cancelled("stream destroyed"));
  }

 private:
  void ProceedLocked() {
    if (writing_ || ended_ || reason_) return;
    if (!outbox_.empty()) {
      writing_ = true;
      this->StartWrite(&outbox_.Front());
    } else if (half_closed_ && !writes_done_) {
      writes_done_ = true;
      this->StartWritesDone();
    }
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    outbox_.PopFront();
    if (ok) {
      ProceedLocked();
    } else {
      half_closed_ = true;  // nothing can leave any more; the read side tells why
      writes_done_ = true;
      outbox_.Clear(false);
    }
  }

  void OnReadDone(bool ok) override {
    bool drop = false;
    {
      std::lock_guard lock(mutex_);
      if (!ok) ended_ = true;
      drop = reason_.has_value();
    }
    if (!ok) {
      this->RemoveHold();
      return;
    }
    In message = std::exchange(incoming_, In());
    if (!drop) gate_.Deliver(std::move(message));
    this->StartRead(&incoming_);
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status result;
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      result = reason_ ? *reason_ : FromGrpc(status, context_);
    }
    gate_.Deliver(StreamClosed{std::move(result)});
    const auto last_reference = std::move(self_);
  }

  const ChannelLease channel_;  // before the context, which holds the channel itself
  std::shared_ptr<ClientReactor> self_;
  grpc::ClientContext context_;
  SinkGate<In> gate_;
  In incoming_;  // owned by the read in flight
  std::mutex mutex_;
  Outbox<Out> outbox_;                  // guarded by mutex_
  bool writing_ = false;                // guarded by mutex_
  bool half_closed_ = false;            // guarded by mutex_
  bool writes_done_ = false;            // guarded by mutex_
  bool ended_ = false;                  // guarded by mutex_; no operation starts any more
  std::optional<absl::Status> reason_;  // guarded by mutex_; why this side cancelled
};

// EventStream of the client's side. Works for every method whose messages are protocol buffers: a
// server-streaming method is a stream on which one message is sent, followed by Close(OK).
template <typename Out, typename In>
class ClientStream final : public EventStream<Out, In> {
 public:
  // `method`: "/package.Service/Method". Never blocks; an unreachable peer shows in the sink.
  static std::unique_ptr<EventStream<Out, In>> Open(ChannelLease channel, const std::string& method,
                                                    TimePoint deadline, StreamSink<In> sink,
                                                    StreamLimits limits = {}) {
    auto reactor =
        std::make_shared<ClientReactor<Out, In>>(std::move(channel), std::move(sink), limits);
    reactor->Start(method, deadline);
    return std::unique_ptr<EventStream<Out, In>>(new ClientStream(std::move(reactor)));
  }

  ~ClientStream() override { reactor_->Abandon(); }
  absl::Status Send(Out message) override { return reactor_->Send(std::move(message)); }
  void Close(absl::Status status) override { reactor_->Close(std::move(status)); }

 private:
  explicit ClientStream(std::shared_ptr<ClientReactor<Out, In>> reactor)
      : reactor_(std::move(reactor)) {}

  const std::shared_ptr<ClientReactor<Out, In>> reactor_;
};

}  // namespace baton::rpc
