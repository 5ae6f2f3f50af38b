#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "baton/v1/decode.pb.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/prefill.pb.h"
#include "common/base/clock.h"
#include "common/base/mailbox.h"
#include "common/stream/event_stream.h"
#include "router/request_flow.h"
#include "router/worker_leg.h"

namespace baton {

using ClientStream = EventStream<v1::GenerateResponse, v1::GenerateRequest>;

// One admitted request: its flow bound to the client's stream and to the streams of its workers.
// Owned by the router's thread.
class LiveRequest : private WorkerLegs, private RequestOwner {
 public:
  struct Openers {
    StreamOpener<v1::PrefillRequest, v1::PrefillResponse> prefill;
    StreamOpener<v1::DecodeRequest, v1::DecodeResponse> decode;
  };
  // What a request tells the router; called from within the request's methods: they must not call
  // back.
  struct Hooks {
    std::function<void(LiveRequest&)> requeued;
    std::function<void(LiveRequest&)> has_output;  // Flush it at the end of the batch of events
    std::function<void(const v1::Complete&)> completed;
    std::function<void(LiveRequest&, const absl::Status&)> settled;
  };
  struct Init {
    uint64_t number = 0;  // in order of arrival
    TimePoint deadline;
    std::shared_ptr<ClientStream> client;
    RequestFlow::Config flow;
    RequestSpec spec;
  };

  // Everything lent outlives the request.
  LiveRequest(Init init, Answer answer, const Openers& openers, Pairing& pairing, Clock& clock,
              Mailbox& mailbox, const Hooks& hooks);

  // Tries to start the waiting request. RESOURCE_EXHAUSTED: it still waits. Any other error settled
  // it.
  absl::Status TryDispatch(TransferId transfer);
  void Cancel(v1::CancelReason reason, const absl::Status& status);
  void WorkerLost(const WorkerKey& key);
  void Tick(TimePoint now);
  // Sends the tokens that came in this batch of events, in one chunk: a busy router sends fewer,
  // larger messages.
  void Flush();

  uint64_t number() const { return number_; }
  TimePoint deadline() const { return deadline_; }
  const std::string& id() const { return flow_.spec().worker.request_id(); }
  const RequestFlow& flow() const { return flow_; }
  // Settled, and no stream is left.
  bool done() const { return flow_.settled() && prefill_.idle() && decode_.idle(); }

 private:
  void OpenPrefill(const WorkerRef& worker, v1::PrefillRequest first) override;
  void OpenDecode(const WorkerRef& worker, v1::DecodeRequest first) override;
  void SendPrefill(v1::PrefillRequest message) override;
  void SendDecode(v1::DecodeRequest message) override;
  void CancelPrefill(v1::CancelReason reason) override;
  void CancelDecode(v1::CancelReason reason) override;
  absl::StatusOr<WorkerPair> Pick(const PairQuery& query) override;
  void Requeue() override;
  void Deliver(v1::GenerateResponse response) override;
  void Settled(const absl::Status& status) override;

  const uint64_t number_;
  const TimePoint deadline_;
  Pairing& pairing_;
  Clock& clock_;
  const Hooks& hooks_;
  std::shared_ptr<ClientStream> client_;       // null once settled
  std::optional<v1::GenerateResponse> chunk_;  // not sent yet
  WorkerLeg<v1::PrefillRequest, v1::PrefillResponse> prefill_;
  WorkerLeg<v1::DecodeRequest, v1::DecodeResponse> decode_;
  RequestFlow flow_;
};

}  // namespace baton
