#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/registry.pb.h"
#include "common/base/clock.h"
#include "common/cluster/descriptor.h"

namespace baton {

enum class WorkerState {
  kStarting,  // known, not ready yet
  kReady,
  kSuspect,   // reports missing or stream broken: new work only where no worker is ready
  kDraining,  // finishes what it has
  kLost,      // gone; remembered for a while
};
std::string_view ToString(WorkerState state);

// A worker as one moment saw it.
struct WorkerView {
  std::shared_ptr<const v1::WorkerDescriptor> descriptor;
  v1::LoadReport load;
  WorkerState state = WorkerState::kStarting;
  bool connected = false;  // its Register stream is open
  // Silent, but its stream is open and it was ready when last heard: late rather than gone.
  bool late() const {
    return state == WorkerState::kSuspect && connected && load.ready() && !load.draining();
  }
  WorkerKey key() const { return KeyOf(descriptor->identity()); }
};

// Value type, ordered by worker id. Shared: it never changes.
using ClusterSnapshot = std::shared_ptr<const std::vector<WorkerView>>;

// Names one Register stream. Reports of a stream that was superseded are ignored.
using SessionId = Strong<struct SessionIdTag, uint64_t>;

// The router's list of workers (README.md has the state diagram). Not thread-safe: owned by the
// router's thread; time comes in as `now`.
class Membership {
 public:
  struct Config {
    Duration suspect_after = std::chrono::seconds(3);
    Duration lost_after = std::chrono::seconds(10);
    Duration forget_after = std::chrono::seconds(60);  // lost workers, after they were lost
    size_t max_workers = 1024;
  };
  explicit Membership(Config config) : config_(config) {}

  // A worker says hello. The same worker id with another incarnation replaces the old one, which is
  // lost at once. INVALID_ARGUMENT for a descriptor that makes no sense, ALREADY_EXISTS when a live
  // worker of this id has the other role, RESOURCE_EXHAUSTED beyond max_workers.
  absl::StatusOr<SessionId> Hello(const v1::WorkerDescriptor& descriptor, TimePoint now);

  void Report(SessionId session, const v1::LoadReport& load, TimePoint now);
  // The Register stream ended: suspect now, lost unless the worker comes back in time.
  void StreamEnded(SessionId session);
  // Moves workers to suspect and lost and forgets old ones.
  void Tick(TimePoint now);

  // Lives that were lost since the last call, by replacement or by silence.
  std::vector<WorkerKey> TakeLost();

  // Rebuilt only after a change.
  ClusterSnapshot Snapshot() const;
  // Rises with each change that Snapshot shows.
  uint64_t version() const { return version_; }

 private:
  struct Member {
    WorkerView view;
    SessionId session;
    bool reported = false;
    TimePoint last_seen;
    TimePoint lost_at;
  };

  Member* Find(SessionId session);
  void SetState(Member& member, WorkerState state, TimePoint now);
  // The state its last report and its connection ask for, silence aside.
  static WorkerState StateOf(const Member& member);

  const Config config_;
  std::map<WorkerId, Member> members_;
  std::map<SessionId, WorkerId> sessions_;
  uint64_t next_session_ = 1;
  uint64_t version_ = 1;
  std::vector<WorkerKey> lost_;
  mutable ClusterSnapshot snapshot_;
  mutable uint64_t snapshot_version_ = 0;
};

}  // namespace baton
