#include "decode_node/handoff_sessions.h"

#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr size_t kMaxWorkerIdBytes = 256;

}  // namespace

HandoffSessions::HandoffSessions(WorkerKey self, Logger& logger, Events events)
    : self_(std::move(self)), logger_(logger), events_(std::move(events)) {}

void HandoffSessions::Add(uint64_t session, std::shared_ptr<Stream> stream) {
  sessions_.emplace(session, Session{std::move(stream), std::nullopt});
}

void HandoffSessions::OnEvent(uint64_t session, StreamEvent<v1::HandoffRequest> event) {
  if (!sessions_.contains(session)) return;
  if (const auto* closed = std::get_if<StreamClosed>(&event)) return End(session, closed->status);
  const absl::Status status = OnMessage(session, std::get<v1::HandoffRequest>(event));
  if (!status.ok()) End(session, status);
}

absl::Status HandoffSessions::OnMessage(uint64_t session, const v1::HandoffRequest& message) {
  Session& from = sessions_.at(session);
  if (!from.prefill) return OnHello(from, message);
  switch (message.message_case()) {
    case v1::HandoffRequest::kRenew:
      return OnRenew(session, message.renew());
    case v1::HandoffRequest::kOpen:
    case v1::HandoffRequest::kNeedCredit:
    case v1::HandoffRequest::kCommit:
    case v1::HandoffRequest::kAbort: {
      BATON_ASSIGN_OR_RETURN(const TransferId transfer,
                             TransferId::FromBytes(message.transfer_id()));
      if (message.attempt() < 1) return InvalidArgument("attempt: 0, expected at least 1");
      events_.message(session, transfer, message);
      return absl::OkStatus();
    }
    case v1::HandoffRequest::kHello:
      return InvalidArgument("hello: repeated, expected once per stream");
    case v1::HandoffRequest::kSlab:
      return InvalidArgument("slab: announced on the stream, expected over the bulk transport");
    case v1::HandoffRequest::MESSAGE_NOT_SET:
      break;
  }
  return InvalidArgument("message: absent or unknown");
}

absl::Status HandoffSessions::OnHello(Session& session, const v1::HandoffRequest& message) {
  if (!message.has_hello()) return InvalidArgument("message: expected hello first");
  const v1::HandoffHello& hello = message.hello();
  const std::string& worker_id = hello.prefill().worker_id();
  if (worker_id.empty() || worker_id.size() > kMaxWorkerIdBytes) {
    return InvalidArgument("hello.prefill.worker_id: {} bytes, expected 1 to {}", worker_id.size(),
                           kMaxWorkerIdBytes);
  }
  if (KeyOf(hello.decode()) != self_) {
    return FailedPrecondition("hello.decode: {}, this worker is {}",
                              ToString(KeyOf(hello.decode())), ToString(self_));
  }
  session.prefill = KeyOf(hello.prefill());
  v1::HandoffResponse accepted;
  *accepted.mutable_accepted()->mutable_decode() = IdentityOf(self_);
  // A stream that has ended meanwhile says so by its StreamClosed.
  session.stream->Send(std::move(accepted)).IgnoreError();
  logger_.Info("handoff_opened", {{"prefill", ToString(*session.prefill)}});
  return absl::OkStatus();
}

absl::Status HandoffSessions::OnRenew(uint64_t session, const v1::HandoffRenew& renew) {
  std::vector<TransferId> transfers;
  transfers.reserve(renew.transfer_ids_size());
  for (const std::string& bytes : renew.transfer_ids()) {
    BATON_ASSIGN_OR_RETURN(const TransferId transfer, TransferId::FromBytes(bytes));
    transfers.push_back(transfer);
  }
  events_.renew(session, transfers);
  return absl::OkStatus();
}

void HandoffSessions::End(uint64_t session, const absl::Status& status) {
  const auto found = sessions_.find(session);
  // Handling its last message may have ended it.
  if (found == sessions_.end()) return;
  const std::string prefill =
      found->second.prefill ? ToString(*found->second.prefill) : "before its hello";
  logger_.Info("handoff_closed", {{"prefill", prefill}, {"status", ToString(status)}});
  found->second.stream->Close(status);
  sessions_.erase(found);
  events_.lost(session);
}

void HandoffSessions::Send(uint64_t session, v1::HandoffResponse message) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  // As above: the StreamClosed of a stream that has ended is on its way.
  found->second.stream->Send(std::move(message)).IgnoreError();
}

const WorkerKey* HandoffSessions::prefill(uint64_t session) const {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || !found->second.prefill) return nullptr;
  return &*found->second.prefill;
}

std::vector<uint64_t> HandoffSessions::sessions() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  return ids;
}

void HandoffSessions::CloseAll(const absl::Status& status) {
  for (auto& [id, session] : sessions_) session.stream->Close(status);
  sessions_.clear();
}

}  // namespace baton
