#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/outbox.h"
#include "common/rpc/sink_gate.h"
#include "common/rpc/status.h"
#include "common/stream/event_stream.h"

namespace baton::rpc {

// After the end of a client's half gRPC may still tell, on another thread, that the client in truth
// cancelled. A good end is reported only when that did not come within this time.
inline constexpr std::chrono::milliseconds kHalfCloseGrace{20};

// A stream that is given up while a message waits for the peer's window is reset after this time,
// in which the peer may still read the status.
inline constexpr std::chrono::milliseconds kLinger{1000};

// What both kinds of server call share: the outgoing half and the end. `Base` is gRPC's reactor. It
// keeps itself alive until gRPC is done with it (OnDone), which may be after its handle died.
template <typename Base, typename Out, typename In>
class ServerReactor : public Base,
                      public std::enable_shared_from_this<ServerReactor<Base, Out, In>> {
 public:
  ServerReactor(grpc::CallbackServerContext* context, StreamLimits limits)
      : context_(context), outbox_(limits) {}

  absl::Status Send(Out message) {
    std::lock_guard lock(mutex_);
    if (close_ || cancelled_) return Unavailable("the stream has ended");
    if (outbox_.Push(std::move(message))) {
      ProceedLocked();
      return absl::OkStatus();
    }
    overflow_ = ResourceExhausted("the peer reads too slowly: the queue of the stream is full");
    GiveUpLocked(overflow_);
    return overflow_;
  }

  void Close(absl::Status status) {
    // First: once the end is on its way, the call may finish on another thread before this one.
    gate_.Detach();
    std::lock_guard lock(mutex_);
    if (close_ || cancelled_) return;
    close_ = std::move(status);
    ProceedLocked();
  }

  // The handle is gone.
  void Abandon() {
    gate_.DetachAndWait();
    std::lock_guard lock(mutex_);
    if (!close_ && !cancelled_) GiveUpLocked(Cancelled("the server dropped the stream"));
  }

 protected:
  // Called once, before the reactor is given to gRPC.
  void Bind(StreamSink<In> sink) {
    self_ = this->shared_from_this();
    gate_.Attach(std::move(sink));
  }

  void Deliver(StreamEvent<In> event) { gate_.Deliver(std::move(event)); }

  // True, and runs `start` under the lock, while operations may still be started.
  template <typename Start>
  bool IfOpen(Start start) {
    std::lock_guard lock(mutex_);
    if (finishing_) return false;
    start();
    return true;
  }

  // The client's half ended; see kHalfCloseGrace.
  void PeerHalfEnded() {
    std::lock_guard lock(mutex_);
    if (done_ || cancelled_) return;
    grace_.emplace();
    grace_->Set(std::chrono::system_clock::now() + kHalfCloseGrace,
                [weak = this->weak_from_this()](bool) {
                  const auto self = weak.lock();
                  if (!self) return;
                  {
                    std::lock_guard lock(self->mutex_);
                    if (self->cancelled_ || !self->overflow_.ok()) return;
                  }
                  self->Deliver(StreamClosed{absl::OkStatus()});
                });
  }

 private:
  void ProceedLocked() {
    if (finishing_ || writing_) return;
    if (!outbox_.empty()) {
      writing_ = true;
      this->StartWrite(&outbox_.Front());
    } else if (close_) {
      finishing_ = true;
      SendPushback(*close_, *context_);
      this->Finish(ToGrpc(*close_));
    }
  }

  void GiveUpLocked(absl::Status status) {
    outbox_.Clear(/*keep_front=*/writing_);
    close_ = std::move(status);
    ProceedLocked();
    if (finishing_) return;
    linger_.emplace();
    linger_->Set(std::chrono::system_clock::now() + kLinger,
                 [weak = this->weak_from_this()](bool expired) {
                   const auto self = weak.lock();
                   if (!self) return;
                   std::lock_guard lock(self->mutex_);
                   if (expired && !self->done_) self->context_->TryCancel();
                 });
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    outbox_.PopFront();
    if (!ok) {
      outbox_.Clear(false);
      if (!close_) close_ = Cancelled("the client went away");
    }
    ProceedLocked();
  }

  void OnCancel() override {
    absl::Status reason;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      reason = overflow_.ok() ? Cancelled("the client went away") : overflow_;
      outbox_.Clear(/*keep_front=*/writing_);
      if (!close_) close_ = reason;
      ProceedLocked();
    }
    Deliver(StreamClosed{std::move(reason)});
  }

  void OnDone() override {
    absl::Status reason;
    {
      std::lock_guard lock(mutex_);
      done_ = true;
      reason = overflow_.ok() ? Cancelled("the client went away") : overflow_;
    }
    Deliver(StreamClosed{std::move(reason)});
    // Outside the lock: an alarm that is due runs at once on another thread.
    if (grace_) grace_->Cancel();
    if (linger_) linger_->Cancel();
    const auto last_reference = std::move(self_);
  }

  std::shared_ptr<ServerReactor> self_;
  grpc::CallbackServerContext* const context_;  // valid until done_
  SinkGate<In> gate_;
  std::mutex mutex_;
  Outbox<Out> outbox_;                 // guarded by mutex_
  std::optional<absl::Status> close_;  // guarded by mutex_; what Finish will say
  absl::Status overflow_;              // guarded by mutex_
  bool writing_ = false;               // guarded by mutex_
  bool finishing_ = false;             // guarded by mutex_; Finish was called
  bool cancelled_ = false;             // guarded by mutex_
  bool done_ = false;                  // guarded by mutex_
  // An alarm keeps its callback after it ran: the callbacks hold the reactor weakly.
  std::optional<grpc::Alarm> grace_;   // set under mutex_, before done_
  std::optional<grpc::Alarm> linger_;  // set under mutex_, before done_
};

}  // namespace baton::rpc
