#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "baton/v1/prefill.pb.h"
#include "common/base/clock.h"
#include "common/base/mailbox.h"
#include "common/stream/event_stream.h"
#include "router/pairing.h"

namespace baton {

// The streams of one request to workers of one role: at most one that the request uses, and those
// that were cancelled and end in good order, for which it waits a while. Owned by the router's
// thread; stream events arrive through the mailbox.
template <typename Request, typename Response>
class WorkerLeg {
 public:
  using Opener = StreamOpener<Request, Response>;
  // How long a cancelled stream may take to end before it is dropped.
  static constexpr Duration kLinger = std::chrono::seconds(5);

  // `deliver` gets the events of the stream in use, on the router's thread.
  WorkerLeg(const Opener& opener, Mailbox& mailbox,
            std::function<void(StreamEvent<Response>)> deliver)
      : opener_(opener),
        mailbox_(mailbox),
        deliver_(std::move(deliver)),
        self_(std::make_shared<WorkerLeg*>(this)) {}

  void Open(const WorkerRef& worker, TimePoint deadline, Pairing::Assignment assignment,
            Request first) {
    const uint64_t number = ++number_;
    worker_ = worker;
    assignment_ = std::move(assignment);
    stream_ = opener_(worker->rpc_endpoint(), deadline,
                      [&mailbox = mailbox_, self = std::weak_ptr<WorkerLeg*>(self_),
                       number](StreamEvent<Response> event) {
                        mailbox.Post([self, number, event = std::move(event)]() mutable {
                          if (auto leg = self.lock()) (*leg)->OnEvent(number, std::move(event));
                        });
                      });
    Send(std::move(first));
  }

  // A failed send is followed by StreamClosed, which tells the request.
  void Send(Request message) { stream_->Send(std::move(message)).IgnoreError(); }

  // Sends Cancel, half-closes, and leaves the stream to end by itself until `now` + kLinger.
  void Cancel(v1::CancelReason reason, TimePoint now) {
    Request message;
    message.mutable_cancel()->set_reason(reason);
    Send(std::move(message));
    stream_->Close(absl::OkStatus());
    ending_.push_back({number_, std::move(stream_), now + kLinger});
    Release();
  }

  // The worker was declared lost: the stream in use ends as if it had broken.
  void WorkerLost(const absl::Status& status) {
    if (stream_ == nullptr) return;
    Release();
    deliver_(StreamClosed{status});
  }

  void Tick(TimePoint now) {
    std::erase_if(ending_, [now](const Ending& ending) { return now >= ending.drop_at; });
  }

  // The worker of the stream in use; null when there is none.
  const WorkerRef& worker() const { return worker_; }
  // No stream is left.
  bool idle() const { return stream_ == nullptr && ending_.empty(); }

 private:
  struct Ending {
    uint64_t number;
    std::unique_ptr<EventStream<Request, Response>> stream;
    TimePoint drop_at;
  };

  void OnEvent(uint64_t number, StreamEvent<Response> event) {
    const bool closed = std::holds_alternative<StreamClosed>(event);
    if (number == number_ && stream_ != nullptr) {
      if (closed) Release();
      deliver_(std::move(event));
    } else if (closed) {
      std::erase_if(ending_, [number](const Ending& ending) { return ending.number == number; });
    }
  }

  void Release() {
    stream_.reset();
    worker_.reset();
    assignment_ = {};
  }

  const Opener& opener_;
  Mailbox& mailbox_;
  const std::function<void(StreamEvent<Response>)> deliver_;
  uint64_t number_ = 0;  // of the last stream
  WorkerRef worker_;
  Pairing::Assignment assignment_;
  std::unique_ptr<EventStream<Request, Response>> stream_;  // in use; null when there is none
  std::list<Ending> ending_;
  std::shared_ptr<WorkerLeg*> self_;  // dies with the leg; events hold it weakly
};

}  // namespace baton
