#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "baton/v1/decode.pb.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/prefill.pb.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "router/answer.h"
#include "router/pairing.h"
#include "router/validation.h"

namespace baton {

// The streams of one request to its workers, as the flow uses them.
class WorkerLegs {
 public:
  virtual ~WorkerLegs() = default;
  // Opens a stream whose first message is `first`. There is none of that role open.
  virtual void OpenPrefill(const WorkerRef& worker, v1::PrefillRequest first) = 0;
  virtual void OpenDecode(const WorkerRef& worker, v1::DecodeRequest first) = 0;
  // Sends on the open stream.
  virtual void SendPrefill(v1::PrefillRequest message) = 0;
  virtual void SendDecode(v1::DecodeRequest message) = 0;
  // Sends Cancel and lets go: no event of that stream reaches the flow any more.
  virtual void CancelPrefill(v1::CancelReason reason) = 0;
  virtual void CancelDecode(v1::CancelReason reason) = 0;
};

// Who owns the request. The flow calls it from within its own methods: the owner must not call back
// into the flow, nor destroy it, before that method has returned.
class RequestOwner {
 public:
  virtual ~RequestOwner() = default;
  virtual absl::StatusOr<WorkerPair> Pick(const PairQuery& query) = 0;
  // All workers that would do are full: the request waits for its next Dispatch.
  virtual void Requeue() = 0;
  virtual void Deliver(v1::GenerateResponse response) = 0;
  // The one terminal event; OK follows a delivered Complete.
  virtual void Settled(const absl::Status& status) = 0;
};

// Life of one admitted request (README.md has the state diagram): both workers at once, attempts,
// refusals, retries, the merge of their tokens, one terminal event. Pure: events in, calls to legs
// and owner out, time as an argument. Not thread-safe.
class RequestFlow {
 public:
  struct Config {
    uint32_t max_retries = 2;  // after a loss
  };

  RequestFlow(Config config, RequestSpec spec, Answer answer, WorkerLegs& legs,
              RequestOwner& owner);

  // A pair was found for the waiting request: starts the next attempt. A transfer id is never used
  // for two dispatches.
  void Dispatch(const WorkerPair& pair, TransferId transfer);

  void OnPrefill(const v1::PrefillResponse& message, TimePoint now);
  void OnDecode(const v1::DecodeResponse& message, TimePoint now);
  // The worker's stream ended, or its worker was declared lost.
  void OnPrefillClosed(const absl::Status& status, TimePoint now);
  void OnDecodeClosed(const absl::Status& status, TimePoint now);
  // Client gone, deadline, drain time-out: ends with `status`. Nothing happens once settled.
  void Cancel(v1::CancelReason reason, const absl::Status& status);

  bool waiting() const { return phase_ == Phase::kWaiting; }
  bool settled() const { return phase_ == Phase::kSettled; }
  uint32_t attempt() const { return attempt_; }
  uint32_t retries() const { return retries_; }
  uint32_t delivered_tokens() const { return answer_.tokens(); }
  const RequestSpec& spec() const { return spec_; }
  // What Pick should look for when the request is dispatched.
  PairQuery Query() const;

 private:
  enum class Phase {
    kWaiting,   // in the router's queue
    kHandover,  // an attempt is under way, the reservation is not complete
    kDecoding,  // Committed
    kSettled,
  };

  void OnFirstToken(const v1::FirstToken& message, TimePoint now);
  void OnRefused(const v1::PrefillRefused& message);
  void OnCommitted(const v1::DecodeCommitted& message, TimePoint now);
  void OnToken(const v1::DecodedToken& message, TimePoint now);
  void OnFinished(const v1::Finished& message, TimePoint now);

  // Each starts the attempt on one side: a new stream, or Rebind where the stream stays.
  void BeginPrefill(bool rebind);
  void BeginDecode(bool rebind);
  void BeginAttempt(const WorkerPair& pair);
  // The next attempt, with another worker where a leg is closed. `counts`: costs a retry; without
  // one left the request fails with `why`.
  void NextAttempt(const absl::Status& why, bool counts);
  void BackToQueue();
  void DropPrefill();
  void DropDecode();

  void TryHeldFirstToken(TimePoint now);
  void DeliverToken(int32_t token, const v1::Logprobs* logprobs, TimePoint now);
  void Complete(v1::FinishReason reason, TimePoint now);
  void Fail(const absl::Status& status) { End(v1::CANCEL_REASON_FAILED, status); }
  void End(v1::CancelReason reason, const absl::Status& status);

  const Config config_;
  RequestSpec spec_;
  Answer answer_;
  WorkerLegs& legs_;
  RequestOwner& owner_;

  Phase phase_ = Phase::kWaiting;
  TransferId transfer_;
  uint32_t attempt_ = 0;
  uint32_t retries_ = 0;
  std::set<WorkerKey> tried_;  // refused or lost since the last Dispatch

  // What the flow knows of one of its two workers.
  struct Leg {
    WorkerRef worker;       // of the last attempt
    bool open = false;      // its stream is
    bool accepted = false;  // it has answered: its loss costs a retry
    uint32_t from = 0;      // attempt with which the stream began
    bool Covers(uint32_t attempt, uint32_t last) const {
      return open && attempt >= from && attempt <= last;
    }
  };
  Leg prefill_, decode_;
  uint32_t reserved_ = 0;                 // highest attempt that the decode worker reserved
  std::optional<v1::FirstToken> held_;    // of the present prefill leg, waits for Reserved
  std::vector<std::string> prefill_ids_;  // worker of each attempt
};

}  // namespace baton
