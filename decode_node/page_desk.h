#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "baton/v1/kv.pb.h"
#include "common/kv/page_pool.h"
#include "decode_node/reservation.h"
#include "decode_node/reservation_rule.h"

namespace baton {

// Gives pages to reservations: all that a request may need or none, first come first served, within
// the share that may wait for KV. Moves reservations between kQueued, kWaiting and kDecoding.
// Engine thread only.
class PageDesk {
 public:
  struct Config {
    PagePool::Config pool;
    int max_queue = 0;          // reservations that wait for pages
    double max_pending_kv = 0;  // share of the pages for reservations that wait for KV
  };
  explicit PageDesk(Config config);

  enum class Answer { kReserved, kQueued, kFull };
  // A new reservation, in kQueued. kFull leaves it as it was.
  Answer Ask(Reservation& reservation);
  // A reservation in kWaiting whose next attempt comes from another worker. It keeps its pages
  // unless some are shared: then all go back before others are taken (nobody holds pages while it
  // waits for pages), and it is at the head of the queue if they do not come at once.
  Answer AskAgain(Reservation& reservation);
  // Serves the queue as far as the pages reach.
  void ServeQueue(const std::function<void(Reservation&)>& reserved);

  // An Open was accepted: puts cached pages of the producer in place of the first own ones.
  // Returns how many tokens they hold.
  uint32_t Match(Reservation& reservation, const v1::KvProducer& producer);
  // kWaiting -> kDecoding; the prompt's full pages become findable.
  void KvComplete(Reservation& reservation);
  // The reservation ends: it leaves the queue and its share. Its table still holds the pages.
  void Release(Reservation& reservation);

  const PagePool& pool() const { return pool_; }
  const std::deque<Reservation*>& queue() const { return queue_; }
  int waiting_pages() const { return rule_.waiting_pages(); }

 private:
  bool TryReserve(Reservation& reservation);

  const Config config_;
  PagePool pool_;
  ReservationRule rule_;
  std::deque<Reservation*> queue_;
};

}  // namespace baton
