#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/handoff/local_transport.h"
#include "common/stream/in_process.h"
#include "prefill_node/prefill_worker.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/fakes/manual_executor.h"

namespace baton {

using HandoffService = InProcessService<v1::HandoffRequest, v1::HandoffResponse>;
using PrefillService = InProcessService<v1::PrefillRequest, v1::PrefillResponse>;

inline constexpr uint64_t kPrefillIncarnation = 77;

// The router's end of one Prefill stream.
struct RouterStream {
  std::unique_ptr<EventStream<v1::PrefillRequest, v1::PrefillResponse>> stream;
  std::vector<v1::PrefillResponse> messages;
  std::optional<absl::Status> closed;

  void Send(v1::PrefillRequest message) { (void)stream->Send(std::move(message)); }
  void Cancel(v1::CancelReason reason);
  void Rebind(uint32_t attempt, const std::string& decode, std::optional<int32_t> forced = {});
  // The n-th message of a kind, null when there are fewer.
  const v1::FirstToken* first_token(int n = 0) const;
  const v1::PrefillRefused* refused(int n = 0) const;
  const v1::Delivered* delivered() const;
};

// A decode worker that answers as the protocol says, as far as the test lets it: it records every
// message, verifies every slab and scatters it into pages of its own.
class ScriptedDecode {
 public:
  struct Script {
    bool grant = true, credit = true, ack = true, commit = true;
    uint32_t first_wanted = 0;
    uint64_t max_slab_bytes = 1 << 20;
    v1::KvFormat wire_format = v1::KV_FORMAT_INT8;
  };
  ScriptedDecode(std::string name, HandoffService& streams, LocalFabric& fabric);

  // A response to the last Open, or to an earlier attempt.
  void Send(v1::HandoffResponse response, std::optional<uint32_t> attempt = {});
  void Grant();
  void Refuse(v1::RefuseCode code);
  void Renew(const std::vector<TransferId>& ids);
  void Break() { streams_.Break(name_); }
  void Listen();

  // The output token that follows `tokens`, computed from the pages of the last transfer: KV of all
  // but the last token must have arrived.
  int32_t NextToken(const std::vector<int32_t>& tokens);
  int count(v1::HandoffRequest::MessageCase kind) const;
  const v1::HandoffRequest* last(v1::HandoffRequest::MessageCase kind) const;

  Script script;
  std::vector<v1::HandoffRequest> received;
  int streams_opened = 0;
  int bad_slabs = 0;

 private:
  void OnRequest(const v1::HandoffRequest& request);
  void OnSlab(std::unique_ptr<IncomingSlab> slab);
  struct Transfer {
    v1::HandoffRequest open;
    std::optional<v1::HandoffCommit> commit;
    std::vector<int32_t> pages;
    uint64_t digest = 0;
    uint32_t slabs = 0;
  };
  void OnLanded(Transfer& transfer, const kernels::SlabHeader& header,
                const std::vector<std::byte>& payload);
  void CommitIfComplete(Transfer& transfer);
  void Answer(const v1::HandoffRequest& open, v1::HandoffResponse response);

  const std::string name_;
  HandoffService& streams_;
  LocalTransport transport_;
  FakeRunner runner_;
  std::shared_ptr<EventStream<v1::HandoffResponse, v1::HandoffRequest>> stream_;
  std::map<std::string, Transfer> transfers_;  // by transfer id
  std::string last_;                           // the transfer of the last Open
  int next_page_ = 0;
};

// One prefill worker, two scripted decode workers "d0" and "d1" and a router, in one thread.
class PrefillHarness {
 public:
  static PrefillWorker::Config DefaultConfig();
  static FakeRunner::Config DefaultRunner();

  explicit PrefillHarness(PrefillWorker::Config config = DefaultConfig(),
                          FakeRunner::Config runner_config = DefaultRunner());
  ~PrefillHarness();

  struct Request {
    uint64_t id = 1;
    std::vector<int32_t> prompt;
    uint32_t max_tokens = 8;
    std::string decode = "d0";  // empty: none
    std::vector<int32_t> stop_ids;
    std::optional<int32_t> forced;
    std::string tenant;
    uint32_t attempt = 1;
    Duration timeout = std::chrono::minutes(10);
  };
  static v1::PrefillRequest StartMessage(const Request& request);
  std::unique_ptr<RouterStream> Open(Duration timeout = std::chrono::minutes(10));
  std::unique_ptr<RouterStream> Start(const Request& request);

  // Events and ticks until nothing moves; the lanes stand still.
  void Deliver();
  // As Deliver, with the lanes.
  void Settle();
  void Advance(Duration d);
  int32_t Expected(const std::vector<int32_t>& tokens) const;

  FakeClock clock;
  Logger logger{{.level = LogLevel::kError}};
  MetricRegistry metrics;
  Mailbox mailbox{clock};
  ManualExecutor executor;
  FakeRunner::Config runner_config;
  FakeRunner runner;
  InProcessLanes lanes{InProcessLanes::Mode::kImmediate};
  LocalFabric fabric{lanes};
  LocalTransport transport{fabric};
  HandoffService handoff_streams{lanes};
  PrefillService prefill_streams{lanes};
  std::unique_ptr<ScriptedDecode> d0, d1;
  std::unique_ptr<PrefillWorker> worker;
};

// `count` tokens that depend on `seed`.
std::vector<int32_t> MakePrompt(int count, int seed);

}  // namespace baton
