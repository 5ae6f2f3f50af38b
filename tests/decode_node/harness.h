#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/handoff/local_transport.h"
#include "common/metrics/registry.h"
#include "common/stream/in_process.h"
#include "decode_node/decode_worker.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/fakes/manual_executor.h"

namespace baton {

using DecodeService = InProcessService<v1::DecodeRequest, v1::DecodeResponse>;
using HandoffService = InProcessService<v1::HandoffRequest, v1::HandoffResponse>;

TransferId MakeTransfer(uint64_t number);
WorkerKey PrefillKey(int number = 1);
// A prompt that differs by `salt`.
std::vector<int32_t> MakePrompt(int tokens, int salt = 0);

// The router's end of one Decode stream.
struct FakeRouterCall {
  std::unique_ptr<EventStream<v1::DecodeRequest, v1::DecodeResponse>> stream;
  std::vector<v1::DecodeResponse> messages;
  std::optional<absl::Status> closed;

  // Attempts of the Reserved messages.
  std::vector<uint32_t> reserved() const;
  // Token ids of the Token messages; checks that their indices count from 1.
  std::vector<int32_t> tokens() const;
  const v1::DecodeCommitted* committed() const;  // the last; null = none
  const v1::Finished* finished() const;
};

class Harness;

// A prefill worker that does what the test says, message by message, over real pages and slabs.
class HandPrefill {
 public:
  HandPrefill(Harness& harness, WorkerKey self);

  void Hello();
  void Hello(const v1::WorkerIdentity& decode);
  // Computes the prompt into pages of its own.
  void Compute(const std::vector<int32_t>& prompt);
  void Open(const TransferId& transfer, uint32_t attempt, uint32_t prompt_tokens);
  void Open(const TransferId& transfer, uint32_t attempt, const v1::HandoffOpen& open);
  void Ask(const TransferId& transfer, uint32_t attempt, uint32_t slab,
           const kernels::SlabRange& range);
  // Packs and sends a slab of the computed prompt; `spoil` changes header or payload on the way.
  struct Slab {
    kernels::SlabHeader header;
    std::vector<std::byte> payload;
  };
  Slab Pack(const TransferId& transfer, uint32_t attempt, uint32_t slab,
            const kernels::SlabRange& range);
  void SendSlab(Slab slab);
  void Commit(const TransferId& transfer, uint32_t attempt, uint32_t first_wanted,
              int32_t first_token, const std::vector<Slab>& slabs);
  void Abort(const TransferId& transfer, uint32_t attempt, v1::AbortReason reason);
  void Renew(const std::vector<TransferId>& transfers);
  void Send(v1::HandoffRequest message) { stream->Send(std::move(message)).IgnoreError(); }
  // Breaks the stream as a crash does.
  void Drop() { stream.reset(); }

  // The last Grant, Refuse, …; null = none.
  const v1::HandoffResponse* last(v1::HandoffResponse::MessageCase kind) const;
  int count(v1::HandoffResponse::MessageCase kind) const;
  std::optional<v1::AckCode> ack(uint32_t slab) const;  // the last of that slab

  // All of the prompt from `first_wanted` on, cut at `cut` tokens.
  std::vector<kernels::SlabRange> Ranges(uint32_t first_wanted, uint32_t cut) const;
  // The token that follows the computed prompt.
  int32_t first_token() const;

  std::unique_ptr<EventStream<v1::HandoffRequest, v1::HandoffResponse>> stream;
  std::vector<v1::HandoffResponse> messages;
  std::optional<absl::Status> closed;
  v1::KvContract contract;

 private:
  Harness& harness_;
  const WorkerKey self_;
  std::unique_ptr<FakeRunner> runner_;
  std::vector<int32_t> prompt_;
  std::vector<int32_t> pages_;
  std::unique_ptr<BulkConnection> connection_;
};

// One decode worker on fakes, everything by hand in one thread.
class Harness {
 public:
  struct Options {
    int page_count = 16;
    int page_tokens = 16;
    int max_batch = 4;
    int max_queue = 4;
    double max_pending_kv = 1.0;
    uint64_t slab_bytes = 8192;
    uint64_t arena_bytes = 65536;
    bool prefix_cache = true;
    bool step_transport = false;  // slabs move by transport_lanes only
  };
  Harness() : Harness(Options{}) {}
  explicit Harness(Options options);
  ~Harness();

  // Runs events and both lanes until nothing moves.
  void Run();
  // Advances the clock in small steps with a Tick after each.
  void Pass(Duration time);

  std::unique_ptr<FakeRouterCall> Call(TimePoint deadline = TimePoint::max());
  // Start for a prompt, with attempt and prefill worker.
  v1::DecodeRequest StartMessage(const TransferId& transfer, const std::vector<int32_t>& prompt,
                                 int max_tokens, uint32_t attempt = 1,
                                 const WorkerKey& prefill = PrefillKey()) const;
  std::unique_ptr<FakeRouterCall> Start(const TransferId& transfer,
                                        const std::vector<int32_t>& prompt, int max_tokens,
                                        uint32_t attempt = 1,
                                        const WorkerKey& prefill = PrefillKey());
  void Rebind(FakeRouterCall& call, uint32_t attempt, const WorkerKey& prefill = PrefillKey());
  void Cancel(FakeRouterCall& call, v1::CancelReason reason);
  // The whole hand-over of an opened transfer, in order.
  void HandOver(HandPrefill& prefill, const TransferId& transfer, uint32_t attempt,
                const std::vector<int32_t>& prompt, uint32_t cut = 16);
  // What the request must yield: tokens from index 1 on.
  std::vector<int32_t> Expected(const std::vector<int32_t>& prompt, int max_tokens) const;
  double Counter(const MetricName& name, MetricLabels labels = {});

  const Options options;
  FakeRunner::Config runner_config;
  FakeClock clock;
  Mailbox mailbox{clock};
  ManualExecutor executor;
  InProcessLanes lanes{InProcessLanes::Mode::kImmediate};
  InProcessLanes transport_lanes;
  DecodeService decode_service{lanes};
  HandoffService handoff_service{lanes};
  LocalFabric fabric{transport_lanes};
  LocalTransport transport{fabric};
  LocalTransport prefill_transport{fabric};
  Logger logger;
  MetricRegistry metrics;
  std::unique_ptr<FakeRunner> runner;
  v1::KvContract contract;
  v1::WorkerIdentity identity;
  std::unique_ptr<DecodeWorker> worker;
};

}  // namespace baton
