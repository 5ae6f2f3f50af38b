#pragma once

namespace baton {

// How many pages may be promised to reservations that wait for KV: they hold at most a share of all
// pages, so that decoding requests are not starved by transfers; when none waits, one is always
// allowed. Pure.
class ReservationRule {
 public:
  explicit ReservationRule(int max_waiting_pages) : max_waiting_pages_(max_waiting_pages) {}

  bool MayReserve(int pages) const {
    return waiting_ == 0 || waiting_pages_ + pages <= max_waiting_pages_;
  }
  void Reserved(int pages) {
    ++waiting_;
    waiting_pages_ += pages;
  }
  // Its KV is there, or it ended.
  void Settled(int pages) {
    --waiting_;
    waiting_pages_ -= pages;
  }
  int waiting_pages() const { return waiting_pages_; }

 private:
  const int max_waiting_pages_;
  int waiting_ = 0;
  int waiting_pages_ = 0;
};

}  // namespace baton
