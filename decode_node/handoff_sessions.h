#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/handoff.pb.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/cluster/descriptor.h"
#include "common/stream/event_stream.h"

namespace baton {

// The hand-over streams that prefill workers opened to this decode worker: who is behind each, and
// whether what it says is well-formed. A stream that breaks the rules ends with INVALID_ARGUMENT.
// Engine thread only.
class HandoffSessions {
 public:
  using Stream = EventStream<v1::HandoffResponse, v1::HandoffRequest>;
  struct Events {
    // An Open, NeedCredit, Commit or Abort with a well-formed envelope.
    std::function<void(uint64_t session, const TransferId&, const v1::HandoffRequest&)> message;
    std::function<void(uint64_t session, const std::vector<TransferId>&)> renew;
    // The stream ended; its session is gone.
    std::function<void(uint64_t session)> lost;
  };

  // `self`: whom a Hello must name. The logger outlives the sessions.
  HandoffSessions(WorkerKey self, Logger& logger, Events events);

  // `session` > 0 and never used before.
  void Add(uint64_t session, std::shared_ptr<Stream> stream);
  void OnEvent(uint64_t session, StreamEvent<v1::HandoffRequest> event);
  // No effect on a session that is gone.
  void Send(uint64_t session, v1::HandoffResponse message);
  // The prefill worker behind a session; null before its Hello and for a session that is gone.
  const WorkerKey* prefill(uint64_t session) const;
  std::vector<uint64_t> sessions() const;
  // Ends all streams; no `lost` follows.
  void CloseAll(const absl::Status& status);

 private:
  struct Session {
    std::shared_ptr<Stream> stream;
    std::optional<WorkerKey> prefill;
  };

  absl::Status OnMessage(uint64_t session, const v1::HandoffRequest& message);
  absl::Status OnHello(Session& session, const v1::HandoffRequest& message);
  absl::Status OnRenew(uint64_t session, const v1::HandoffRenew& renew);
  void End(uint64_t session, const absl::Status& status);

  const WorkerKey self_;
  Logger& logger_;
  const Events events_;
  std::map<uint64_t, Session> sessions_;
};

}  // namespace baton
