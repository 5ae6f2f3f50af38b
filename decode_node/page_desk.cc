#include "decode_node/page_desk.h"

#include <utility>
#include <vector>

#include "common/base/check.h"

namespace baton {

using Phase = Reservation::Phase;

PageDesk::PageDesk(Config config)
    : config_(config),
      pool_(config.pool),
      rule_(static_cast<int>(config.max_pending_kv * config.pool.page_count)) {}

bool PageDesk::TryReserve(Reservation& reservation) {
  if (!rule_.MayReserve(reservation.pages_needed)) return false;
  auto pages = pool_.TryTake(reservation.pages_needed);
  if (!pages) return false;
  reservation.pages.Append(*std::move(pages));
  reservation.phase = Phase::kWaiting;
  rule_.Reserved(reservation.pages_needed);
  return true;
}

PageDesk::Answer PageDesk::Ask(Reservation& reservation) {
  BATON_CHECK(reservation.phase == Phase::kQueued);
  if (queue_.empty() && TryReserve(reservation)) return Answer::kReserved;
  if (static_cast<int>(queue_.size()) >= config_.max_queue) return Answer::kFull;
  queue_.push_back(&reservation);
  return Answer::kQueued;
}

PageDesk::Answer PageDesk::AskAgain(Reservation& reservation) {
  BATON_CHECK(reservation.phase == Phase::kWaiting);
  if (reservation.matched_pages == 0) return Answer::kReserved;
  rule_.Settled(reservation.pages_needed);
  reservation.pages.Clear();
  reservation.matched_pages = 0;
  reservation.phase = Phase::kQueued;
  if (TryReserve(reservation)) return Answer::kReserved;
  queue_.push_front(&reservation);
  return Answer::kQueued;
}

void PageDesk::ServeQueue(const std::function<void(Reservation&)>& reserved) {
  while (!queue_.empty() && TryReserve(*queue_.front())) {
    Reservation& first = *queue_.front();
    queue_.pop_front();
    reserved(first);
  }
}

uint32_t PageDesk::Match(Reservation& reservation, const v1::KvProducer& producer) {
  BATON_CHECK(reservation.phase == Phase::kWaiting && reservation.matched_pages == 0);
  reservation.producer = producer.SerializeAsString();
  const Sequence& sequence = reservation.sequence;
  std::vector<PageRef> matched = pool_.Match({reservation.producer, sequence.request().tenant},
                                             sequence.prompt(), sequence.prompt_tokens());
  const int count = static_cast<int>(matched.size());
  if (count == 0) return 0;
  PageTable pages;
  pages.Append(std::move(matched));
  for (int i = count; i < reservation.pages_needed; ++i) {
    pages.Append(reservation.pages.page(i).Share());
  }
  reservation.pages = std::move(pages);
  reservation.matched_pages = count;
  return static_cast<uint32_t>(count * config_.pool.page_tokens);
}

void PageDesk::KvComplete(Reservation& reservation) {
  BATON_CHECK(reservation.phase == Phase::kWaiting);
  rule_.Settled(reservation.pages_needed);
  reservation.phase = Phase::kDecoding;
  const Sequence& sequence = reservation.sequence;
  pool_.Cache({reservation.producer, sequence.request().tenant}, sequence.prompt(),
              reservation.pages);
}

void PageDesk::Release(Reservation& reservation) {
  switch (reservation.phase) {
    case Phase::kQueued:
      std::erase(queue_, &reservation);
      return;
    case Phase::kWaiting:
      rule_.Settled(reservation.pages_needed);
      return;
    case Phase::kDecoding:
      return;
  }
}

}  // namespace baton
