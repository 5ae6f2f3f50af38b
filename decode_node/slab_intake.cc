#include "decode_node/slab_intake.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "decode_node/messages.h"

namespace baton {
namespace {

using kernels::SlabHeader;

TransferId TransferOf(const SlabHeader& header) {
  const std::string_view bytes(reinterpret_cast<const char*>(header.transfer_id.data()),
                               header.transfer_id.size());
  return TransferId::FromBytes(bytes).value();
}

KvBlock BlockOf(const kernels::SlabRange& range, std::span<const int32_t> pages) {
  return {static_cast<int>(range.l0),
          static_cast<int>(range.l1),
          static_cast<int>(range.h0),
          static_cast<int>(range.h1),
          static_cast<int>(range.t0),
          static_cast<int>(range.t1),
          pages};
}

}  // namespace

SlabIntake::SlabIntake(LeaseConfig leases, Arena& arena, ModelRunner& runner, Executor& executor,
                       ReservationTable& table, HandoffSessions& sessions, DecodeMetrics& metrics,
                       Post post, Events events)
    : runner_(runner),
      executor_(executor),
      table_(table),
      sessions_(sessions),
      metrics_(metrics),
      post_(std::move(post)),
      events_(std::move(events)),
      credits_(arena),
      leases_(leases) {}

Reservation* SlabIntake::Receiving(uint64_t session, const TransferId& transfer) const {
  Reservation* reservation = table_.Find(transfer);
  return reservation != nullptr && reservation->session == session ? reservation : nullptr;
}

void SlabIntake::CountDropped(TransferReceiver::DropReason reason) {
  using Reason = TransferReceiver::DropReason;
  switch (reason) {
    case Reason::kLate:
      return metrics_.slabs_late.Add();
    case Reason::kDuplicate:
      return metrics_.slabs_duplicate.Add();
    case Reason::kUnasked:
      return metrics_.slabs_unknown.Add();
  }
}

void SlabIntake::Reply(Reservation& reservation, v1::HandoffResponse message) {
  if (message.has_ack() && message.ack().code() != v1::ACK_CODE_OK) metrics_.slabs_invalid.Add();
  sessions_.Send(reservation.session, std::move(message));
}

void SlabIntake::Granted(Reservation& reservation, TimePoint now) {
  leases_.Grant(reservation.transfer(), now);
}

void SlabIntake::OnNeedCredit(uint64_t session, const TransferId& transfer, uint32_t attempt,
                              const v1::HandoffNeedCredit& message) {
  Reservation* reservation = Receiving(session, transfer);
  if (reservation == nullptr) return CountDropped(TransferReceiver::DropReason::kLate);
  auto outcome = reservation->receiver.OnNeedCredit(attempt, message);
  if (const auto* dropped = std::get_if<TransferReceiver::Dropped>(&outcome)) {
    CountDropped(dropped->reason);
  } else if (const auto* wanted = std::get_if<TransferReceiver::CreditWanted>(&outcome)) {
    credits_.Ask({transfer, attempt, wanted->slab, wanted->bytes});
  } else if (auto* reply = std::get_if<v1::HandoffResponse>(&outcome)) {
    Reply(*reservation, std::move(*reply));
  } else {
    events_.failed(*reservation, std::get<absl::Status>(outcome));
  }
}

void SlabIntake::PumpCredits() {
  credits_.Pump([this](const CreditQueue::Claim& claim, ArenaSpan span) {
    Reservation* reservation = table_.Find(claim.transfer);
    if (reservation == nullptr) return;
    auto message = reservation->receiver.OnCredit(claim.attempt, claim.slab, std::move(span));
    if (message) Reply(*reservation, *std::move(message));
  });
}

void SlabIntake::OnIncoming(std::unique_ptr<IncomingSlab> slab) {
  const auto decoded = kernels::DecodeSlabHeader(slab->header(), runner_.kv().geometry.head_dim);
  const auto* header = std::get_if<SlabHeader>(&decoded);
  if (header == nullptr) return CountDropped(TransferReceiver::DropReason::kUnasked);
  const TransferId transfer = TransferOf(*header);
  Reservation* reservation = table_.Find(transfer);
  const WorkerKey sender{slab->peer().worker, slab->peer().incarnation};
  if (reservation == nullptr || sender != reservation->prefill) {
    return CountDropped(TransferReceiver::DropReason::kLate);
  }
  auto outcome = reservation->receiver.OnIncoming(*header, slab->payload_bytes());
  if (const auto* dropped = std::get_if<TransferReceiver::Dropped>(&outcome)) {
    CountDropped(dropped->reason);
  } else if (auto* landing = std::get_if<TransferReceiver::Landing>(&outcome)) {
    // The closure shares the span: whatever happens to the transfer, it stays reserved until the
    // transport no longer writes to it.
    slab->Accept(landing->bytes, [this, transfer, header = *header,
                                  hold = landing->hold](absl::Status status) mutable {
      post_([this, transfer, header, hold = std::move(hold), status = std::move(status)] {
        OnLanded(transfer, header, status);
      });
    });
  } else if (auto* reply = std::get_if<v1::HandoffResponse>(&outcome)) {
    Reply(*reservation, std::move(*reply));
  } else {
    events_.failed(*reservation, std::get<absl::Status>(outcome));
  }
}

void SlabIntake::OnLanded(const TransferId& transfer, const SlabHeader& header,
                          const absl::Status& status) {
  Reservation* reservation = table_.Find(transfer);
  if (reservation == nullptr) return CountDropped(TransferReceiver::DropReason::kLate);
  auto outcome = reservation->receiver.OnLanded(header, status);
  if (const auto* dropped = std::get_if<TransferReceiver::Dropped>(&outcome)) {
    CountDropped(dropped->reason);
  } else if (auto* scatter = std::get_if<TransferReceiver::Scatter>(&outcome)) {
    StartScatter(*reservation, std::move(*scatter));
  } else {
    Reply(*reservation, std::move(std::get<v1::HandoffResponse>(outcome)));
  }
}

void SlabIntake::StartScatter(Reservation& reservation, TransferReceiver::Scatter scatter) {
  const uint64_t id = next_scatter_++;
  const auto ids = reservation.pages.ids();
  scatters_.emplace(id, reservation.pages.Share());
  executor_.Submit(
      Lane::kCopy, [this, id, transfer = reservation.transfer(), scatter = std::move(scatter),
                    pages = std::vector<int32_t>(ids.begin(), ids.end())]() mutable {
        auto checksum = runner_.Scatter(BlockOf(scatter.header.range, pages),
                                        scatter.header.formats, scatter.payload);
        post_([this, id, transfer, header = scatter.header, hold = std::move(scatter.hold),
               checksum = std::move(checksum)] { OnScattered(id, transfer, header, checksum); });
      });
}

void SlabIntake::OnScattered(uint64_t scatter, const TransferId& transfer, const SlabHeader& header,
                             const absl::StatusOr<uint64_t>& checksum) {
  scatters_.erase(scatter);
  if (!checksum.ok()) return events_.device_failed(checksum.status());
  Reservation* reservation = table_.Find(transfer);
  if (reservation == nullptr) return CountDropped(TransferReceiver::DropReason::kLate);
  auto outcome = reservation->receiver.OnScattered(header, *checksum);
  if (const auto* dropped = std::get_if<TransferReceiver::Dropped>(&outcome)) {
    return CountDropped(dropped->reason);
  }
  metrics_.transfer_bytes.Add(header.payload_bytes);
  Reply(*reservation, std::move(std::get<v1::HandoffResponse>(outcome)));
  TryComplete(*reservation);
}

void SlabIntake::OnCommit(uint64_t session, const TransferId& transfer, uint32_t attempt,
                          const v1::HandoffCommit& message) {
  Reservation* reservation = Receiving(session, transfer);
  if (reservation == nullptr) return CountDropped(TransferReceiver::DropReason::kLate);
  auto outcome = reservation->receiver.OnCommit(attempt, message);
  if (const auto* dropped = std::get_if<TransferReceiver::Dropped>(&outcome)) {
    CountDropped(dropped->reason);
  } else if (const auto* status = std::get_if<absl::Status>(&outcome)) {
    events_.failed(*reservation, *status);
  } else {
    TryComplete(*reservation);
  }
}

void SlabIntake::TryComplete(Reservation& reservation) {
  auto outcome = reservation.receiver.TryComplete();
  if (const auto* status = std::get_if<absl::Status>(&outcome)) {
    events_.failed(reservation, *status);
  } else if (auto* completed = std::get_if<TransferReceiver::Completed>(&outcome)) {
    Reply(reservation, std::move(completed->committed));
    leases_.Release(reservation.transfer());
    reservation.session = 0;
    events_.complete(reservation);
  }
}

void SlabIntake::OnRenew(uint64_t session, const std::vector<TransferId>& transfers,
                         TimePoint now) {
  for (const TransferId& transfer : transfers) {
    if (Receiving(session, transfer) != nullptr) leases_.Renew(transfer, now);
  }
}

void SlabIntake::EndAttempt(Reservation& reservation) {
  if (reservation.receiver.state() != TransferReceiver::State::kReceiving) return;
  reservation.receiver.EndAttempt();
  reservation.session = 0;
  credits_.Withdraw(reservation.transfer());
  leases_.Release(reservation.transfer());
}

void SlabIntake::SessionLost(uint64_t session) {
  for (const auto& [key, reservation] : table_.all()) {
    if (reservation->session != session) continue;
    metrics_.transfers_lost.Add();
    EndAttempt(*reservation);
  }
}

void SlabIntake::Tick(TimePoint now) {
  for (const TransferId& transfer : leases_.TakeExpired(now)) {
    Reservation* reservation = table_.Find(transfer);
    BATON_CHECK(reservation != nullptr);
    metrics_.leases_expired.Add();
    Reply(*reservation, AbortMessage(*reservation, v1::ABORT_REASON_LEASE_EXPIRED));
    EndAttempt(*reservation);
  }
}

std::vector<TransferId> SlabIntake::TransfersOf(uint64_t session) const {
  std::vector<TransferId> transfers;
  for (const auto& [key, reservation] : table_.all()) {
    if (reservation->session == session) transfers.push_back(reservation->transfer());
  }
  return transfers;
}

}  // namespace baton
