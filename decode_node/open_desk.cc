#include "decode_node/open_desk.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/check.h"
#include "common/cluster/contract.h"
#include "common/handoff/wire_format.h"

namespace baton {
namespace {

v1::Mismatch MakeMismatch(std::string field, std::string prefill, std::string decode) {
  v1::Mismatch mismatch;
  mismatch.set_field(std::move(field));
  mismatch.set_left(std::move(prefill));
  mismatch.set_right(std::move(decode));
  return mismatch;
}

}  // namespace

OpenDesk::OpenDesk(Config config, ReservationTable& table, HandoffSessions& sessions,
                   BindPages bind_pages, Granted granted)
    : config_(std::move(config)),
      table_(table),
      sessions_(sessions),
      bind_pages_(std::move(bind_pages)),
      granted_(std::move(granted)),
      parked_(config_.max_parked),
      tombstones_(config_.tombstones) {}

void OpenDesk::OnOpen(uint64_t session, const TransferId& transfer, uint32_t attempt,
                      const v1::HandoffOpen& open, TimePoint now) {
  ParkedOpen asked{transfer, attempt, session, open, now};
  if (open.ByteSizeLong() > config_.max_open_bytes) {
    return Refuse(asked, v1::REFUSE_CODE_BAD_OPEN,
                  {MakeMismatch("open bytes", fmt::to_string(open.ByteSizeLong()),
                                fmt::format("at most {}", config_.max_open_bytes))});
  }
  Decide(std::move(asked), now);
}

void OpenDesk::Decide(ParkedOpen open, TimePoint now) {
  Reservation* reservation = table_.Find(open.transfer);
  if (reservation == nullptr) {
    const auto tombstone = tombstones_.Find(open.transfer);
    if (tombstone && open.attempt <= tombstone->attempt) return Refuse(open, tombstone->code);
    return Park(std::move(open));
  }
  if (open.attempt > reservation->attempt()) return Park(std::move(open));
  if (open.attempt < reservation->attempt()) return Refuse(open, v1::REFUSE_CODE_STALE);
  using State = TransferReceiver::State;
  switch (reservation->receiver.state()) {
    case State::kExpecting:
      return DecideExpected(*reservation, open, now);
    case State::kReceiving:
      if (reservation->session == open.session) {
        return sessions_.Send(open.session, reservation->receiver.RepeatGrant());
      }
      return Refuse(open, v1::REFUSE_CODE_HANDOFF_LOST);
    case State::kEnded:
      return Refuse(open, v1::REFUSE_CODE_HANDOFF_LOST);
    case State::kComplete:
      return Refuse(open, v1::REFUSE_CODE_ALREADY_COMMITTED);
  }
}

void OpenDesk::DecideExpected(Reservation& reservation, const ParkedOpen& open, TimePoint now) {
  const WorkerKey* prefill = sessions_.prefill(open.session);
  BATON_CHECK(prefill != nullptr);
  if (*prefill != reservation.prefill) {
    return Refuse(
        open, v1::REFUSE_CODE_BAD_OPEN,
        {MakeMismatch("prefill worker", ToString(*prefill), ToString(reservation.prefill))});
  }
  const uint32_t prompt_tokens = static_cast<uint32_t>(reservation.sequence.prompt_tokens());
  if (open.open.prompt_tokens() != prompt_tokens) {
    return Refuse(open, v1::REFUSE_CODE_BAD_OPEN,
                  {MakeMismatch("prompt_tokens", fmt::to_string(open.open.prompt_tokens()),
                                fmt::to_string(prompt_tokens))});
  }
  const ContractCheck check = CheckContracts(open.open.contract(), config_.contract);
  if (!check.ok()) return Refuse(open, v1::REFUSE_CODE_CONTRACT, check.mismatches);
  if (reservation.phase == Reservation::Phase::kQueued) return Park(open);
  const auto formats = KvFormatsOf(check.wire_format);
  BATON_CHECK(formats.has_value());
  const uint32_t first_wanted = bind_pages_(reservation, open.open.contract().producer());
  reservation.session = open.session;
  reservation.granted_at = now;
  sessions_.Send(open.session,
                 reservation.receiver.Grant(check.wire_format, *formats, first_wanted));
  granted_(reservation);
}

void OpenDesk::OnAbort(uint64_t session, const TransferId& transfer, uint32_t attempt) {
  parked_.Remove(transfer, attempt, session);
}

void OpenDesk::SessionLost(uint64_t session) { parked_.RemoveSession(session); }

void OpenDesk::Retry(const TransferId& transfer, TimePoint now) {
  for (ParkedOpen& open : parked_.TakeTransfer(transfer)) Decide(std::move(open), now);
}

void OpenDesk::Bury(const TransferId& transfer, Tombstone tombstone, TimePoint now) {
  tombstones_.Add(transfer, tombstone, now);
  Retry(transfer, now);
}

bool OpenDesk::IsBuried(const TransferId& transfer, uint32_t attempt) const {
  const auto tombstone = tombstones_.Find(transfer);
  return tombstone && attempt <= tombstone->attempt;
}

void OpenDesk::Tick(TimePoint now) {
  tombstones_.Expire(now);
  const auto stays = [this](const ParkedOpen& open) { return WaitsForPages(open); };
  for (const ParkedOpen& open : parked_.TakeOlder(now - config_.open_wait, stays)) {
    Refuse(open, v1::REFUSE_CODE_UNKNOWN_TRANSFER);
  }
}

bool OpenDesk::WaitsForPages(const ParkedOpen& open) const {
  const Reservation* reservation = table_.Find(open.transfer);
  return reservation != nullptr && reservation->attempt() == open.attempt;
}

void OpenDesk::Park(ParkedOpen open) {
  ParkedOpen kept = open;
  if (!parked_.Park(std::move(open))) Refuse(kept, v1::REFUSE_CODE_BUSY);
}

void OpenDesk::Refuse(const ParkedOpen& open, v1::RefuseCode code,
                      const std::vector<v1::Mismatch>& mismatches) {
  v1::HandoffResponse message;
  message.set_transfer_id(open.transfer.ToBytes());
  message.set_attempt(open.attempt);
  message.mutable_refuse()->set_code(code);
  for (const v1::Mismatch& mismatch : mismatches) {
    *message.mutable_refuse()->add_mismatches() = mismatch;
  }
  sessions_.Send(open.session, std::move(message));
}

}  // namespace baton
