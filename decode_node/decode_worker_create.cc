// How the parts of a decode worker are put together.
#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "decode_node/decode_worker.h"

namespace baton {
namespace {

absl::Status Validate(const DecodeWorker::Config& config, const KvPages& kv) {
  if (config.identity.worker_id().empty()) return InvalidArgument("worker id: empty");
  if (config.max_batch < 1) {
    return InvalidArgument("max batch: {}, expected at least 1", config.max_batch);
  }
  if (!(config.max_pending_kv > 0 && config.max_pending_kv <= 1)) {
    return InvalidArgument("max pending kv: {}, expected more than 0 and at most 1",
                           config.max_pending_kv);
  }
  if (config.slab_bytes <= kSlabHeaderBytes || config.slab_bytes > config.arena_bytes / 2) {
    return InvalidArgument("arena bytes: {}, expected at least two slabs of {} bytes",
                           config.arena_bytes, config.slab_bytes);
  }
  if (static_cast<int>(config.contract.page_tokens()) != kv.page_tokens) {
    return InvalidArgument("contract.page_tokens: {}, expected {} as the runner's",
                           config.contract.page_tokens(), kv.page_tokens);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DecodeWorker>> DecodeWorker::Create(Config config,
                                                                   Environment environment) {
  BATON_RETURN_IF_ERROR(Validate(config, environment.runner.kv()));
  std::unique_ptr<DecodeWorker> worker(new DecodeWorker(std::move(config), environment));
  DecodeWorker* self = worker.get();
  BATON_RETURN_IF_ERROR(environment.transport.RegisterArena(worker->arena_memory_.span()));
  BATON_ASSIGN_OR_RETURN(
      worker->kv_endpoint_,
      environment.transport.Listen(
          worker->config_.kv_listen, [self](std::unique_ptr<IncomingSlab> slab) {
            // A closure must be copyable; the slab is refused when the mailbox drops it.
            auto shared = std::make_shared<std::unique_ptr<IncomingSlab>>(std::move(slab));
            self->Post([self, shared] { self->intake_.OnIncoming(std::move(*shared)); });
          }));
  return worker;
}

DecodeWorker::DecodeWorker(Config config, Environment environment)
    : config_(std::move(config)),
      env_(environment),
      metrics_(env_.metrics, config_.transport),
      pages_({{env_.runner.kv().page_count, env_.runner.kv().page_tokens, config_.prefix_cache},
              config_.max_queue,
              config_.max_pending_kv}),
      arena_memory_(config_.arena_bytes),
      arena_(arena_memory_.span()),
      sessions_(KeyOf(config_.identity), env_.logger,
                {.message =
                     [this](uint64_t session, const TransferId& transfer,
                            const v1::HandoffRequest& message) {
                       OnHandoffMessage(session, transfer, message);
                     },
                 .renew =
                     [this](uint64_t session, const std::vector<TransferId>& transfers) {
                       intake_.OnRenew(session, transfers, env_.clock.Now());
                     },
                 .lost =
                     [this](uint64_t session) {
                       opens_.SessionLost(session);
                       intake_.SessionLost(session);
                     }}),
      opens_(
          {.contract = config_.contract}, table_, sessions_,
          [this](Reservation& reservation, const v1::KvProducer& producer) {
            return BindPages(reservation, producer);
          },
          [this](Reservation& reservation) { intake_.Granted(reservation, env_.clock.Now()); }),
      intake_(config_.leases, arena_, env_.runner, env_.executor, table_, sessions_, metrics_,
              [this](std::function<void()> event) { Post(std::move(event)); },
              {.complete = [this](Reservation& reservation) { OnKvComplete(reservation); },
               .failed =
                   [this](Reservation& reservation, const absl::Status& status) {
                     metrics_.transfers_corrupt.Add();
                     End(reservation, DataLoss("hand-over: {}", MessageOf(status)));
                   },
               .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); }}),
      loop_({config_.max_batch}, policy_, env_.clock, env_.mailbox, env_.executor, env_.runner,
            table_, metrics_,
            {.ended = [this](Reservation& reservation,
                             const absl::Status& status) { End(reservation, status); },
             .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); },
             .step_done = [this] { Settle(); }}),
      renewal_due_(env_.clock.Now() + config_.leases.renew_period) {}

DecodeWorker::~DecodeWorker() { Shutdown(Unavailable("the worker shuts down")); }

}  // namespace baton
