#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/cluster/contract.h"
#include "common/cluster/membership.h"
#include "router/routing_policy.h"

namespace baton {

using WorkerRef = std::shared_ptr<const v1::WorkerDescriptor>;

// The workers of one attempt. `decode` is null when the first token ends the request anyway.
struct WorkerPair {
  WorkerRef prefill;
  WorkerRef decode;
};

// Which workers a request can use.
struct PairQuery {
  WorkerRef prefill;  // given: stays
  WorkerRef decode;   // given: stays
  bool needs_decode = true;
  uint32_t tokens = 0;                            // prompt and output: the context needed
  const std::set<WorkerKey>* excluded = nullptr;  // tried already; may be null
};

// Chooses the workers of a request: ready ones that hold the request, are not full and may hand KV
// over to each other; the policy decides among them. Owned by the router's thread.
class Pairing {
 public:
  // Counts a request as the worker's until it dies.
  class Assignment {
   public:
    Assignment() = default;
    Assignment(Pairing& pairing, WorkerKey key);
    Assignment(Assignment&& other) noexcept
        : pairing_(std::exchange(other.pairing_, nullptr)), key_(std::move(other.key_)) {}
    Assignment& operator=(Assignment&& other) noexcept;
    ~Assignment();

   private:
    Pairing* pairing_ = nullptr;
    WorkerKey key_;
  };

  // `membership` and `policy` outlive the pairing.
  Pairing(const Membership& membership, const RoutingPolicy& policy)
      : membership_(membership), policy_(policy) {}

  // UNAVAILABLE: no ready worker of a role. INVALID_ARGUMENT: no ready worker has the context.
  // FAILED_PRECONDITION: ready workers, but no pair that may hand over; names the fields.
  // RESOURCE_EXHAUSTED: all that would do are full or excluded; worth waiting.
  absl::StatusOr<WorkerPair> Pick(const PairQuery& query);

  // Whether some ready pair may serve, full or not.
  bool HasPair();

  // Largest distance between the model probes of the pairs looked at; nullopt before the first.
  std::optional<double> largest_probe_distance() const { return largest_probe_distance_; }

  // Requests assigned to the worker by this router.
  uint32_t assigned(const WorkerKey& key) const;

 private:
  struct Option {
    WorkerRef worker;
    Candidate load;
    bool free;  // neither excluded nor full
  };

  absl::StatusOr<std::vector<Option>> Options(v1::Role role, const WorkerRef& given,
                                              const PairQuery& query) const;
  WorkerRef Choose(const std::vector<const Option*>& options, uint64_t& draw) const;
  uint32_t LoadOf(const WorkerView& view) const;
  bool IsFull(const WorkerView& view) const;
  const ContractCheck& Check(const v1::WorkerDescriptor& prefill,
                             const v1::WorkerDescriptor& decode);
  absl::Status NoPair(const std::vector<Option>& prefills, const std::vector<Option>& decodes);

  const Membership& membership_;
  const RoutingPolicy& policy_;
  ClusterSnapshot snapshot_;
  uint64_t prefill_draw_ = 0;
  uint64_t decode_draw_ = 0;
  std::map<WorkerKey, uint32_t> assigned_;
  std::map<std::pair<WorkerKey, WorkerKey>, ContractCheck> checks_;  // of the present snapshot
  std::optional<double> largest_probe_distance_;
};

}  // namespace baton
