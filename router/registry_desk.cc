#include "router/registry_desk.h"

#include <utility>

#include "common/base/status.h"
#include "common/cluster/contract.h"

namespace baton {

RegistryDesk::RegistryDesk(Config config, Clock& clock, Mailbox& mailbox, Logger& logger,
                           std::function<absl::Status(const v1::WorkerDescriptor&)> admit,
                           std::function<void()> changed)
    : config_(std::move(config)),
      clock_(clock),
      mailbox_(mailbox),
      logger_(logger),
      admit_(std::move(admit)),
      changed_(std::move(changed)),
      membership_(config_.membership) {}

// A session and the sink of its stream own each other.
RegistryDesk::~RegistryDesk() {
  for (const auto& session : sessions_) session->stream.reset();
}

StreamAcceptor<v1::RegisterResponse, v1::RegisterRequest> RegistryDesk::Acceptor() {
  return [this](std::shared_ptr<Stream> stream, TimePoint) {
    auto session = std::make_shared<Session>();
    session->stream = std::move(stream);
    return [this, session](StreamEvent<v1::RegisterRequest> event) {
      mailbox_.Post([this, session, event = std::move(event)]() mutable {
        OnEvent(session, std::move(event));
      });
    };
  };
}

void RegistryDesk::OnEvent(const std::shared_ptr<Session>& session,
                           StreamEvent<v1::RegisterRequest> event) {
  if (session->stream == nullptr) return;
  if (std::holds_alternative<StreamClosed>(event)) return End(session, absl::OkStatus());
  if (sessions_.size() >= config_.max_streams && !sessions_.contains(session)) {
    return End(session, ResourceExhausted("{} register streams are open", sessions_.size()));
  }
  sessions_.insert(session);
  const auto& message = std::get<v1::RegisterRequest>(event);
  switch (message.message_case()) {
    case v1::RegisterRequest::kHello: {
      if (session->member) return End(session, InvalidArgument("hello: second one, expected load"));
      const absl::Status admitted = Admit(*session, message.hello());
      if (!admitted.ok()) {
        logger_.Warning("worker_refused", {{"worker", message.hello().identity().worker_id()},
                                           {"status", ToString(admitted)}});
        return End(session, admitted);
      }
      break;
    }
    case v1::RegisterRequest::kLoad:
      if (!session->member) return End(session, InvalidArgument("load: expected hello first"));
      membership_.Report(*session->member, message.load(), clock_.Now());
      break;
    case v1::RegisterRequest::MESSAGE_NOT_SET:
      return End(session, InvalidArgument("message: not set, expected hello or load"));
  }
  changed_();
}

absl::Status RegistryDesk::Admit(Session& session, const v1::WorkerDescriptor& descriptor) {
  BATON_RETURN_IF_ERROR(admit_(descriptor));
  BATON_ASSIGN_OR_RETURN(session.member, membership_.Hello(descriptor, clock_.Now()));
  logger_.Info("worker_registered",
               {{"worker", ToString(KeyOf(descriptor.identity()))},
                {"role", descriptor.role() == v1::ROLE_PREFILL ? "prefill" : "decode"},
                {"endpoint", descriptor.rpc_endpoint()},
                {"weights", descriptor.contract().producer().scheme()},
                {"kv", FormatName(descriptor.contract().resident_format())}});
  v1::RegisterResponse response;
  response.mutable_accepted()->set_router_id(config_.router_id);
  return session.stream->Send(std::move(response));
}

void RegistryDesk::End(const std::shared_ptr<Session>& session, const absl::Status& status) {
  if (session->member) membership_.StreamEnded(*session->member);
  session->stream->Close(status);
  session->stream.reset();
  sessions_.erase(session);
  changed_();
}

std::vector<WorkerKey> RegistryDesk::Tick(TimePoint now) {
  membership_.Tick(now);
  std::vector<WorkerKey> lost = membership_.TakeLost();
  for (const WorkerKey& key : lost) logger_.Warning("worker_lost", {{"worker", ToString(key)}});
  return lost;
}

void RegistryDesk::Close(const absl::Status& status) {
  while (!sessions_.empty()) {
    const std::shared_ptr<Session> session = *sessions_.begin();
    End(session, status);
  }
}

}  // namespace baton
