#include "common/cluster/membership.h"

#include <utility>

#include "common/base/status.h"

namespace baton {

std::string_view ToString(WorkerState state) {
  switch (state) {
    case WorkerState::kStarting:
      return "starting";
    case WorkerState::kReady:
      return "ready";
    case WorkerState::kSuspect:
      return "suspect";
    case WorkerState::kDraining:
      return "draining";
    case WorkerState::kLost:
      return "lost";
  }
  return "unknown";
}

absl::StatusOr<SessionId> Membership::Hello(const v1::WorkerDescriptor& descriptor, TimePoint now) {
  BATON_RETURN_IF_ERROR(ValidateDescriptor(descriptor));
  const WorkerKey key = KeyOf(descriptor.identity());
  auto it = members_.find(key.id);
  if (it == members_.end()) {
    if (members_.size() >= config_.max_workers) {
      return ResourceExhausted("workers: {} are registered, the limit is {}", members_.size(),
                               config_.max_workers);
    }
    it = members_.emplace(key.id, Member{}).first;
  } else {
    Member& former = it->second;
    const bool alive = former.view.state != WorkerState::kLost;
    if (alive && former.view.descriptor->role() != descriptor.role()) {
      return AlreadyExists("identity.worker_id: '{}' is a live worker of the other role",
                           key.id.value());
    }
    sessions_.erase(former.session);
    if (former.view.key() != key) SetState(former, WorkerState::kLost, now);
  }
  Member& member = it->second;
  member.view.descriptor = std::make_shared<const v1::WorkerDescriptor>(descriptor);
  member.view.load = v1::LoadReport();
  member.view.state = WorkerState::kStarting;
  member.session = SessionId(next_session_++);
  member.view.connected = true;
  member.reported = false;
  member.last_seen = now;
  sessions_[member.session] = key.id;
  ++version_;
  return member.session;
}

void Membership::Report(SessionId session, const v1::LoadReport& load, TimePoint now) {
  Member* member = Find(session);
  if (member == nullptr) return;
  member->view.load = load;
  member->reported = true;
  member->last_seen = now;
  ++version_;
  SetState(*member, StateOf(*member), now);
}

void Membership::StreamEnded(SessionId session) {
  Member* member = Find(session);
  if (member == nullptr) return;
  member->view.connected = false;
  sessions_.erase(session);
  if (member->view.state == WorkerState::kLost) return;
  member->view.state = WorkerState::kSuspect;
  ++version_;
}

void Membership::Tick(TimePoint now) {
  for (auto it = members_.begin(); it != members_.end();) {
    Member& member = it->second;
    if (member.view.state == WorkerState::kLost) {
      if (now - member.lost_at < config_.forget_after) {
        ++it;
        continue;
      }
      sessions_.erase(member.session);
      it = members_.erase(it);
      ++version_;
      continue;
    }
    const Duration silence = now - member.last_seen;
    if (silence >= config_.lost_after) {
      SetState(member, WorkerState::kLost, now);
    } else if (silence >= config_.suspect_after) {
      SetState(member, WorkerState::kSuspect, now);
    }
    ++it;
  }
}

std::vector<WorkerKey> Membership::TakeLost() { return std::exchange(lost_, {}); }

ClusterSnapshot Membership::Snapshot() const {
  if (snapshot_version_ != version_) {
    auto views = std::make_shared<std::vector<WorkerView>>();
    views->reserve(members_.size());
    for (const auto& [id, member] : members_) views->push_back(member.view);
    snapshot_ = std::move(views);
    snapshot_version_ = version_;
  }
  return snapshot_;
}

Membership::Member* Membership::Find(SessionId session) {
  const auto it = sessions_.find(session);
  return it == sessions_.end() ? nullptr : &members_.at(it->second);
}

void Membership::SetState(Member& member, WorkerState state, TimePoint now) {
  if (member.view.state == state) return;
  member.view.state = state;
  if (state == WorkerState::kLost) {
    member.lost_at = now;
    lost_.push_back(member.view.key());
  }
  ++version_;
}

WorkerState Membership::StateOf(const Member& member) {
  if (!member.view.connected) return WorkerState::kSuspect;
  if (!member.reported) return WorkerState::kStarting;
  if (member.view.load.draining()) return WorkerState::kDraining;
  return member.view.load.ready() ? WorkerState::kReady : WorkerState::kStarting;
}

}  // namespace baton
