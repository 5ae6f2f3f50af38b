#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "baton/v1/registry.pb.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/cluster/membership.h"
#include "common/stream/event_stream.h"

namespace baton {

// The router's side of the registry conversation: takes Register streams, keeps the membership, and
// answers with commands. Owned by the router's thread; stream events arrive through the mailbox.
class RegistryDesk {
 public:
  using Stream = EventStream<v1::RegisterResponse, v1::RegisterRequest>;
  struct Config {
    std::string router_id;
    Membership::Config membership;
    size_t max_streams = 2048;
  };
  // `admit` may refuse a hello with a reason of its own; `changed` runs after each hello, report or
  // end of a stream. What is lent outlives the desk.
  RegistryDesk(Config config, Clock& clock, Mailbox& mailbox, Logger& logger,
               std::function<absl::Status(const v1::WorkerDescriptor&)> admit,
               std::function<void()> changed);
  ~RegistryDesk();  // drops the streams that Close has not ended

  // Thread-safe.
  StreamAcceptor<v1::RegisterResponse, v1::RegisterRequest> Acceptor();

  const Membership& membership() const { return membership_; }
  // Ages the members; returns the lives that were lost since the last call.
  std::vector<WorkerKey> Tick(TimePoint now);
  // Ends all streams.
  void Close(const absl::Status& status);

 private:
  struct Session {
    std::shared_ptr<Stream> stream;
    std::optional<SessionId> member;  // after its hello
    std::string worker;
  };

  void OnEvent(const std::shared_ptr<Session>& session, StreamEvent<v1::RegisterRequest> event);
  absl::Status Admit(Session& session, const v1::WorkerDescriptor& descriptor);
  void End(const std::shared_ptr<Session>& session, const absl::Status& status);

  const Config config_;
  Clock& clock_;
  Mailbox& mailbox_;
  Logger& logger_;
  const std::function<absl::Status(const v1::WorkerDescriptor&)> admit_;
  const std::function<void()> changed_;
  Membership membership_;
  std::set<std::shared_ptr<Session>> sessions_;
};

}  // namespace baton
