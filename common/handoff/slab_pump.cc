#include "common/handoff/slab_pump.h"

#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {

SlabPump::SlabPump(ModelRunner& runner, Executor& executor, Mailbox& mailbox, Clock& clock,
                   std::span<std::byte> arena, Events events)
    : runner_(runner),
      executor_(executor),
      mailbox_(mailbox),
      clock_(clock),
      events_(std::move(events)),
      arena_(arena) {}

void SlabPump::Pack(const TransferKey& key, const PackSlab& slab, PageTable pages) {
  waiting_.push_back({key, slab, std::move(pages)});
  StartWaiting();
}

void SlabPump::Send(const TransferKey& key, uint32_t slab, const kernels::SlabHeader& header,
                    const std::shared_ptr<BulkConnection>& connection) {
  for (auto& [number, job] : in_flight_) {
    if (job.key != key || job.slab.slab != slab) continue;
    job.sending = true;
    const auto done = [this, number = number](absl::Status status) {
      mailbox_.Post([this, number, status] { OnSent(number, status); });
    };
    if (connection == nullptr) return done(Unavailable("the bulk connection is gone"));
    return connection->Send(kernels::EncodeSlabHeader(header), job.span.bytes(), done);
  }
  BATON_CHECK(false);
}

void SlabPump::Drop(const TransferKey& key) {
  std::erase_if(waiting_, [&](const Job& job) { return job.key == key; });
  for (auto& [number, job] : in_flight_) {
    if (job.key == key) job.dropped = true;
  }
}

void SlabPump::StartWaiting() {
  while (!waiting_.empty()) {
    std::optional<ArenaSpan> span = arena_.TryTake(waiting_.front().slab.payload_bytes);
    if (!span) return;
    const uint64_t number = next_job_++;
    Job& job = in_flight_.emplace(number, std::move(waiting_.front())).first->second;
    waiting_.pop_front();
    job.span = *std::move(span);
    const auto ids = job.pages.ids();
    executor_.Submit(Lane::kCopy, [this, number, slab = job.slab, payload = job.span.bytes(),
                                   pages = std::vector<int32_t>(ids.begin(), ids.end())] {
      const TimePoint start = clock_.Now();
      const KvBlock block{.first_layer = static_cast<int>(slab.range.l0),
                          .end_layer = static_cast<int>(slab.range.l1),
                          .first_head = static_cast<int>(slab.range.h0),
                          .end_head = static_cast<int>(slab.range.h1),
                          .first_token = static_cast<int>(slab.range.t0),
                          .end_token = static_cast<int>(slab.range.t1),
                          .pages = pages};
      auto checksum = runner_.Pack(block, slab.wire, payload);
      const Duration spent = clock_.Now() - start;
      mailbox_.Post([this, number, checksum = std::move(checksum), spent] {
        OnPacked(number, checksum, spent);
      });
    });
  }
}

void SlabPump::OnPacked(uint64_t number, const absl::StatusOr<uint64_t>& checksum, Duration spent) {
  const auto found = in_flight_.find(number);
  BATON_CHECK(found != in_flight_.end());
  Job& job = found->second;
  job.pages.Clear();
  if (!checksum.ok()) {
    events_.device_failed(Annotate(checksum.status(), "pack"));
  } else if (!job.dropped) {
    events_.packed(job.key, job.slab.slab, *checksum, spent);
  }
  if (!job.sending) in_flight_.erase(found);
  StartWaiting();
}

void SlabPump::OnSent(uint64_t number, const absl::Status& status) {
  const auto found = in_flight_.find(number);
  BATON_CHECK(found != in_flight_.end());
  const Job job = std::move(found->second);
  in_flight_.erase(found);
  if (!job.dropped) events_.sent(job.key, job.slab.slab, status);
  StartWaiting();
}

}  // namespace baton
