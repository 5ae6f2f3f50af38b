#include "prefill_node/prefill_node.h"

#include <memory>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/services.h"
#include "common/worker/worker_process.h"
#include "prefill_node/prefill_worker.h"

namespace baton {

absl::Status RunPrefillNode(WorkerOptions options, const PrefillOptions& prefill) {
  BATON_ASSIGN_OR_RETURN(const auto process,
                         WorkerProcess::Create(v1::ROLE_PREFILL, std::move(options)));
  const WorkerOptions& o = process->options();
  BATON_ASSIGN_OR_RETURN(
      const auto worker,
      PrefillWorker::Create(
          {.self = process->identity(),
           .contract = process->contract(),
           .limits = process->limits(),
           .max_queue = o.max_queue,
           .chunk_tokens = prefill.chunk_tokens,
           .max_batch = o.max_batch,
           .prefix_cache = o.prefix_cache,
           .slab_bytes = o.slab_bytes,
           .arena_bytes = o.arena_bytes,
           .slab_timeout = prefill.slab_timeout,
           .lease = o.lease,
           .transport = o.transport},
          {process->runner(), process->executor(), process->mailbox(), process->clock(),
           process->transport(), rpc::HandoffOpener(process->channels()), process->logger(),
           process->metrics()}));
  const auto service = rpc::MakePrefillService(worker->acceptor());
  return process->Serve({.services = {service.get()},
                         .tick = [&worker] { worker->Tick(); },
                         .load = [&worker] { return worker->Load(); },
                         .drain = [&worker](TimePoint deadline) { worker->Drain(deadline); },
                         .drained = [&worker] { return worker->drained(); },
                         .shutdown = [&worker](const absl::Status& s) { worker->Shutdown(s); }});
}

}  // namespace baton
