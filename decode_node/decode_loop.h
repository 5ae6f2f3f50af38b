#pragma once

#include <functional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/mailbox.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/engine/scheduler_policy.h"
#include "common/engine/step_loop.h"
#include "decode_node/decode_metrics.h"
#include "decode_node/reservation.h"

namespace baton {

// Decodes the reservations whose KV is complete: plans and runs steps, sends the tokens. Engine
// thread only.
class DecodeLoop {
 public:
  struct Config {
    int max_batch = 0;
  };
  struct Events {
    // The sequence finished or its stream takes no more: the reservation must end with the status.
    std::function<void(Reservation&, const absl::Status&)> ended;
    std::function<void(const absl::Status&)> device_failed;
    // A step has ended and everything that follows from it was done.
    std::function<void()> step_done;
  };

  DecodeLoop(Config config, const SchedulerPolicy& policy, Clock& clock, Mailbox& mailbox,
             Executor& executor, ModelRunner& runner, ReservationTable& table,
             DecodeMetrics& metrics, Events events);

  // The reservation decodes from the next step on; its prompt is in its pages and its first output
  // token is known. Ends it at once when that token finishes it.
  void Add(Reservation& reservation, int32_t first_token);
  // No longer planned; a step in flight that has it goes on without effect.
  void Remove(SequenceKey key) { std::erase(decoding_, key); }
  // Starts a step unless one is in flight or there is nothing to do.
  void Advance();

  int decoding() const { return static_cast<int>(decoding_.size()); }
  bool busy() const { return steps_.busy(); }
  int64_t steps() const { return steps_.steps(); }

 private:
  void OnStep(absl::StatusOr<std::vector<StepOutcome>> outcomes);
  void OnToken(Reservation& reservation, const SampledToken& sampled);
  // Sends Finished and ends the reservation if it is finished.
  bool EndIfFinished(Reservation& reservation);

  const Config config_;
  const SchedulerPolicy& policy_;
  Clock& clock_;
  ReservationTable& table_;
  DecodeMetrics& metrics_;
  const Events events_;
  StepLoop steps_;
  std::vector<SequenceKey> decoding_;  // in the order of Add
  TimePoint step_started_;
};

}  // namespace baton
