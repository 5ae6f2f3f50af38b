#include "decode_node/decode_node.h"

#include <utility>

#include "common/base/status.h"
#include "common/rpc/services.h"
#include "common/worker/worker_process.h"
#include "decode_node/decode_worker.h"

namespace baton {

absl::Status RunDecodeNode(WorkerOptions options, const DecodeOptions& decode) {
  BATON_RETURN_IF_ERROR(CheckEndpoint("--kv-listen", decode.kv_listen));
  BATON_ASSIGN_OR_RETURN(const auto process,
                         WorkerProcess::Create(v1::ROLE_DECODE, std::move(options)));
  const WorkerOptions& o = process->options();
  BATON_ASSIGN_OR_RETURN(
      const auto worker,
      DecodeWorker::Create(
          {.identity = process->identity(),
           .contract = process->contract(),
           .limits = process->limits(),
           .kv_listen = decode.kv_listen,
           .prefix_cache = o.prefix_cache,
           .max_batch = o.max_batch,
           .max_queue = o.max_queue,
           .max_pending_kv = decode.max_pending_kv,
           .slab_bytes = o.slab_bytes,
           .arena_bytes = o.arena_bytes,
           .leases = o.lease,
           .transport = o.transport},
          {process->clock(), process->mailbox(), process->executor(), process->runner(),
           process->transport(), process->logger(), process->metrics()}));
  const auto decode_service = rpc::MakeDecodeService([&worker](auto stream, TimePoint deadline) {
    return worker->AcceptDecode(std::move(stream), deadline);
  });
  const auto handoff_service = rpc::MakeHandoffService([&worker](auto stream, TimePoint deadline) {
    return worker->AcceptHandoff(std::move(stream), deadline);
  });
  return process->Serve({.services = {decode_service.get(), handoff_service.get()},
                         .kv_endpoint = worker->kv_endpoint(),
                         .tick = [&worker] { worker->Tick(); },
                         .load = [&worker] { return worker->Load(); },
                         .drain = [&worker](TimePoint deadline) { worker->Drain(deadline); },
                         .drained = [&worker] { return worker->drained(); },
                         .shutdown = [&worker](const absl::Status& s) { worker->Shutdown(s); }});
}

}  // namespace baton
