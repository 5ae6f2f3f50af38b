#pragma once

#include <functional>
#include <memory>
#include <string>

#include "baton/v1/inference.pb.h"
#include "baton/v1/registry.pb.h"
#include "common/cluster/registry_reporter.h"
#include "common/handoff/local_transport.h"
#include "common/metrics/registry.h"
#include "common/stream/in_process.h"
#include "decode_node/decode_worker.h"
#include "prefill_node/prefill_worker.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/fakes/faulty_transport.h"
#include "tests/fakes/manual_executor.h"

namespace baton {

// What the nodes of one process share: time, streams, the way of the slabs.
struct Wires {
  FakeClock clock;
  Logger logger{Logger::Config{.level = LogLevel::kError}};
  InProcessLanes lanes{InProcessLanes::Mode::kStepped};
  InProcessLanes decode_lanes{InProcessLanes::Mode::kStepped};  // the decode conversation's
  LocalFabric fabric{lanes};
  InProcessService<v1::GenerateRequest, v1::GenerateResponse> generate{lanes};
  InProcessService<v1::RegisterRequest, v1::RegisterResponse> registry{lanes};
  InProcessService<v1::PrefillRequest, v1::PrefillResponse> prefill{lanes};
  InProcessService<v1::DecodeRequest, v1::DecodeResponse> decode{decode_lanes};
  InProcessService<v1::HandoffRequest, v1::HandoffResponse> handoff{lanes};
};

// How a worker of a test cluster is built.
struct NodeOptions {
  std::string id;
  uint64_t incarnation = 1;
  FakeRunner::Config runner;
  // A real model instead of the fake one; `runner` then tells its geometry, pages and vocabulary.
  std::function<std::unique_ptr<ModelRunner>()> make_model;
  std::string scheme = "fp16";  // of its weights: the producer of its KV
  int max_queue = 16;
  bool tells_queue = true;  // the router knows max_queue
  int max_batch = 8;
  int chunk_tokens = 16;
  bool prefix_cache = true;
  uint64_t slab_bytes = 2048;
  uint64_t arena_bytes = 8192;
  double max_pending_kv = 0.5;
  LeaseConfig lease;
  int max_context = 512;
  FaultyTransport::Faults faults;  // of what it sends
  uint64_t fault_seed = 0;
};

v1::KvContract ContractOf(const NodeOptions& options);

// What both roles of worker have in a test cluster: a mailbox, lanes by hand, a registry client.
class Node {
 public:
  Node(Wires& wires, NodeOptions options, v1::Role role);
  virtual ~Node();

  // Each moves one thing and says whether there was one.
  bool StepMailbox();
  bool StepLane(Lane lane) { return executor_.RunOne(lane); }
  bool ReleaseSlab() { return faulty_.Release(); }
  // What the engine thread does after a batch of events.
  void Tick();
  // Everything that can move without the others; false when nothing did.
  bool Turn();

  virtual v1::LoadReport Load() const = 0;
  virtual bool idle() const = 0;
  virtual void Drain(TimePoint deadline) = 0;
  // Pages are conserved, credits fit the arena.
  virtual void CheckInvariants() const = 0;

  const std::string& id() const { return options_.id; }
  FakeRunner& runner() { return runner_; }
  FaultyTransport& faulty() { return faulty_; }
  bool registered() const { return reporter_->registered(); }

 protected:
  // The rest of the construction, when the worker is there.
  void Announce(const std::string& kv_endpoint);
  virtual void TickWorker() = 0;
  HandoffLinks::Opener HandoffOpener();
  ModelRunner& model() { return real_ ? *real_ : runner_; }

  Wires& wires_;
  const NodeOptions options_;
  const v1::Role role_;
  Mailbox mailbox_;
  ManualExecutor executor_;
  FakeRunner runner_;
  const std::unique_ptr<ModelRunner> real_;  // null: the fake one serves
  LocalTransport local_;
  FaultyTransport faulty_;
  MetricRegistry metrics_;
  std::unique_ptr<RegistryReporter> reporter_;
};

class PrefillNode : public Node {
 public:
  PrefillNode(Wires& wires, NodeOptions options);
  ~PrefillNode() override;
  v1::LoadReport Load() const override { return worker_->Load(); }
  bool idle() const override { return worker_->idle(); }
  void Drain(TimePoint deadline) override;
  void CheckInvariants() const override;
  const PrefillWorker& worker() const { return *worker_; }

 private:
  void TickWorker() override { worker_->Tick(); }
  std::unique_ptr<PrefillWorker> worker_;
};

class DecodeNode : public Node {
 public:
  DecodeNode(Wires& wires, NodeOptions options);
  ~DecodeNode() override;
  v1::LoadReport Load() const override { return worker_->Load(); }
  bool idle() const override { return worker_->idle(); }
  void Drain(TimePoint deadline) override;
  void CheckInvariants() const override;
  const DecodeWorker& worker() const { return *worker_; }

 private:
  void TickWorker() override { worker_->Tick(); }
  std::unique_ptr<DecodeWorker> worker_;
};

}  // namespace baton
