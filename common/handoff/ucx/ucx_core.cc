#include "common/handoff/ucx/ucx_core.h"

#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/handoff/ucx/ucx_status.h"
#include "common/handoff/ucx/wire.h"

namespace baton::ucx {
namespace {

// Deadlines of handshakes are looked at this often.
constexpr Duration kTick = std::chrono::milliseconds(200);
// UCX gets this long to let go of its connections.
constexpr Duration kShutDownLimit = std::chrono::seconds(5);
// Bounds how long posted commands wait for progress that never pauses.
constexpr int kProgressPerStep = 64;

}  // namespace

absl::StatusOr<std::shared_ptr<UcxCore>> UcxCore::Create(const UcxConfig& config) {
  BATON_ASSIGN_OR_RETURN(auto loop, EventLoop::Create());
  BATON_ASSIGN_OR_RETURN(auto worker,
                         UcxWorker::Create({config.keepalive_interval, config.settings}));
  const size_t header_bytes = std::max(kSlabHeaderBytes, kMaxWorkerIdBytes + 32);
  if (worker->max_message_header() < header_bytes) {
    return FailedPrecondition("ucx: message headers of at most {} bytes, expected {}",
                              worker->max_message_header(), header_bytes);
  }
  BATON_RETURN_IF_ERROR(loop->Watch(worker->event_fd()));
  std::shared_ptr<UcxCore> core(new UcxCore(config, std::move(loop), std::move(worker)));
  BATON_RETURN_IF_ERROR(core->SetHandlers());
  core->thread_ = Thread("bulk-ucx", [core = core.get()] { core->Run(); });
  return core;
}

UcxCore::UcxCore(const UcxConfig& config, std::unique_ptr<EventLoop> loop,
                 std::unique_ptr<UcxWorker> worker)
    : config_(config), loop_(std::move(loop)), worker_(std::move(worker)) {
  outgoing_ = std::make_unique<Outgoing>(*worker_, clock_, config.connect_timeout, &attention_);
  IncomingLimits limits;
  limits.payload_bytes = config.max_payload_bytes;
  limits.hello_timeout = config.connect_timeout;
  incoming_ = std::make_unique<Incoming>(*worker_, clock_, limits, &attention_);
}

template <ucs_status_t (UcxCore::*handler)(ucp_ep_h, std::string_view, void*, size_t, uint64_t)>
absl::Status UcxCore::SetHandler(unsigned id) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                     UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  param.id = id;
  // A sender that ignores our rules and sends the payload at once must not land anywhere either.
  param.flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
  param.arg = this;
  param.cb = [](void* self, const void* header, size_t header_bytes, void* data, size_t bytes,
                const ucp_am_recv_param_t* received) -> ucs_status_t {
    const bool known = received->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP;
    return (static_cast<UcxCore*>(self)->*handler)(known ? received->reply_ep : nullptr,
                                                   {static_cast<const char*>(header), header_bytes},
                                                   data, bytes, received->recv_attr);
  };
  return FromUcs(ucp_worker_set_am_recv_handler(worker_->handle(), &param),
                 "ucx: ucp_worker_set_am_recv_handler");
}

absl::Status UcxCore::SetHandlers() {
  BATON_RETURN_IF_ERROR(SetHandler<&UcxCore::OnHello>(static_cast<unsigned>(MessageId::kHello)));
  BATON_RETURN_IF_ERROR(
      SetHandler<&UcxCore::OnWelcome>(static_cast<unsigned>(MessageId::kWelcome)));
  return SetHandler<&UcxCore::OnSlab>(static_cast<unsigned>(MessageId::kSlab));
}

ucs_status_t UcxCore::OnHello(ucp_ep_h endpoint, std::string_view header, void*, size_t, uint64_t) {
  incoming_->OnHello(endpoint, header);
  return UCS_OK;
}

ucs_status_t UcxCore::OnWelcome(ucp_ep_h endpoint, std::string_view header, void*, size_t,
                                uint64_t) {
  outgoing_->OnWelcome(endpoint, header);
  return UCS_OK;
}

ucs_status_t UcxCore::OnSlab(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                             uint64_t flags) {
  const bool keepable = flags & (UCP_AM_RECV_ATTR_FLAG_RNDV | UCP_AM_RECV_ATTR_FLAG_DATA);
  return incoming_->OnSlab(endpoint, header, data, bytes, keepable);
}

bool UcxCore::Step() {
  bool worked = loop_->RunPosted();
  for (int i = 0; i < kProgressPerStep && ucp_worker_progress(worker_->handle()) != 0; ++i) {
    worked = true;
  }
  if (attention_ || clock_.Now() >= next_tend_) {
    worked |= std::exchange(attention_, false);
    outgoing_->Tend();
    incoming_->Tend();
    next_tend_ = clock_.Now() + kTick;
  }
  return worked;
}

void UcxCore::Rest() {
  if (config_.poll == UcxConfig::Poll::kBusy) return;
  // BUSY: something came since the last progress.
  if (ucp_worker_arm(worker_->handle()) != UCS_OK) return;
  const bool deadlines = stopping_ || outgoing_->connecting() || incoming_->waits_for_hello();
  loop_->Wait(deadlines ? kTick : Duration(std::chrono::seconds(1)));
}

void UcxCore::Run() {
  while (!stopping_) {
    if (!Step()) Rest();
  }
  ShutDown();
}

void UcxCore::ShutDown() {
  // First, so that no command can start something behind our back.
  loop_->Close();
  incoming_->CloseAll();
  outgoing_->DisconnectAll();
  attention_ = true;
  const TimePoint limit = clock_.Now() + kShutDownLimit;
  while (!(incoming_->all_closed() && outgoing_->all_closed()) && clock_.Now() < limit) {
    if (!Step()) Rest();
  }
  worker_->DestroyWorker();
  outgoing_->SettleAll();
  incoming_->SettleAll();
}

void UcxCore::Close() {
  std::lock_guard lock(close_mutex_);
  BATON_CHECK(!thread_.IsCurrent());
  (void)Post([this] { stopping_ = true; });
  thread_.Join();
}

std::string UcxCore::Describe() const {
  std::vector<std::string> lines;
  outgoing_->Describe(lines);
  incoming_->Describe(lines);
  return fmt::format("ucx {}{}{}", LibraryVersion(), lines.empty() ? "" : "; ",
                     fmt::join(lines, "; "));
}

}  // namespace baton::ucx
