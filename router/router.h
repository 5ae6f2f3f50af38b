#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/inference.pb.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/metrics/registry.h"
#include "router/live_request.h"
#include "router/model_info.h"
#include "router/pairing.h"
#include "router/registry_desk.h"
#include "router/router_metrics.h"
#include "router/routing_policy.h"
#include "router/text_codec.h"
#include "router/validation.h"

namespace baton {

// What a router has counted since its start.
struct RouterStats {
  uint64_t accepted = 0;   // passed validation and admission
  uint64_t refused = 0;    // ended before that
  uint64_t completed = 0;  // ended with OK
  uint64_t failed = 0;     // accepted and ended otherwise
  uint64_t retries = 0;    // after losses
  uint64_t tokens = 0;     // delivered
};

// The router: admission, routing, and the lives of all requests. Accepts the clients' Generate
// streams and the workers' Register streams and opens streams to workers; which transport carries
// them is none of its business.
//
// Threading: one thread runs the mailbox and owns everything here; only the acceptors may be called
// from others. Tick runs after each batch of events and at least every 100 ms.
class Router {
 public:
  struct Config {
    ModelInfo model;  // name; the rest as far as known, workers tell what is 0
    GenerateLimits limits;
    size_t max_queue = 1024;                              // requests waiting for a worker
    uint32_t max_retries = 2;                             // after a loss of a worker
    Duration default_timeout = std::chrono::minutes(10);  // of clients that set no deadline
    std::chrono::milliseconds pushback{500};              // told to refused clients
    RegistryDesk::Config registry;
    uint64_t seed = 0;  // of transfer ids, request ids and drawn sampling seeds
  };
  // `codec` may be null: then only token ids come in and no text goes out.
  Router(Config config, Clock& clock, Mailbox& mailbox, Logger& logger, const TextCodec* codec,
         const RoutingPolicy& policy, MetricRegistry& metrics, LiveRequest::Openers openers);

  // Thread-safe; streams must not outlive the router.
  StreamAcceptor<v1::GenerateResponse, v1::GenerateRequest> GenerateAcceptor();
  StreamAcceptor<v1::RegisterResponse, v1::RegisterRequest> RegisterAcceptor() {
    return registry_.Acceptor();
  }

  // Cancels a live request; NOT_FOUND when there is none of this id.
  absl::Status Abort(const std::string& request_id);
  // UNAVAILABLE while neither configuration nor a worker has told.
  absl::StatusOr<ModelInfo> Model() const;
  v1::GetLoadResponse Load() const;

  void Tick();
  // Refuses new requests; those that are left at `deadline` end with UNAVAILABLE.
  void Drain(TimePoint deadline);
  // Ends what is left, the registry's streams too. After the mailbox stopped.
  void Close();
  // A pair of workers could take a request.
  bool ready();
  // No request and no stream to a worker is left.
  bool idle() const { return requests_.empty(); }
  const RouterStats& stats() const { return stats_; }
  size_t queued() const { return queue_.size(); }

 private:
  // A client's call before it is admitted, and the way from its stream's end to the request.
  struct Call {
    std::shared_ptr<ClientStream> stream;  // moves to the request
    TimePoint deadline;
    uint64_t number = 0;  // of the request once admitted
  };

  void OnClientEvent(Call& call, StreamEvent<v1::GenerateRequest> event);
  absl::Status Admit(Call& call, const v1::GenerateRequest& request);
  void DispatchQueue();
  void ExpireDeadlines(TimePoint now);
  void Sweep(TimePoint now);
  void CancelAll();
  absl::Status AdmitWorker(const v1::WorkerDescriptor& descriptor) const;
  void OnSettled(LiveRequest& request, const absl::Status& status);

  const Config config_;
  Clock& clock_;
  Mailbox& mailbox_;
  Logger& logger_;
  const TextCodec* const codec_;
  const LiveRequest::Openers openers_;
  const LiveRequest::Hooks hooks_;
  RegistryDesk registry_;
  Pairing pairing_;
  std::mt19937_64 rng_;
  RouterStats stats_;
  RouterMetrics metrics_;

  uint64_t next_number_ = 1;
  std::map<uint64_t, std::unique_ptr<LiveRequest>>
      requests_;                                        // also settled ones whose streams end
  std::unordered_map<std::string, uint64_t> ids_;       // live ones
  std::set<uint64_t> queue_;                            // first come, first served
  std::set<std::pair<TimePoint, uint64_t>> deadlines_;  // live ones
  std::vector<uint64_t> with_output_;                   // to flush after this batch of events
  std::vector<uint64_t> ending_;                        // settled
  bool dispatch_due_ = false;
  bool draining_ = false;
  TimePoint drain_deadline_ = TimePoint::max();
  TimePoint next_sweep_ = TimePoint::min();
};

}  // namespace baton
