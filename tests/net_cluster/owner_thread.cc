#include "tests/net_cluster/owner_thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <utility>

namespace baton {

void OwnerThread::Start(const std::string& name, Duration period, std::function<void()> tick,
                        std::function<void()> end) {
  thread_ = Thread(name, [this, period, tick = std::move(tick), end = std::move(end)] {
    mailbox.Run(period, [this, &tick] {
      tick();
      LookAtWaiters();
    });
    end();
    for (Waiter& waiter : waiters_) waiter.answer(false);
    waiters_.clear();
  });
}

void OwnerThread::LookAtWaiters() {
  waiters_.remove_if([](Waiter& waiter) {
    if (!waiter.condition()) return false;
    waiter.answer(true);
    return true;
  });
}

bool OwnerThread::Await(std::function<bool()> condition, Duration timeout) {
  auto promise = std::make_shared<std::promise<bool>>();
  std::future<bool> met = promise->get_future();
  mailbox.Post([this, condition = std::move(condition), promise = std::move(promise)]() mutable {
    waiters_.push_back({std::move(condition),
                        [promise = std::move(promise)](bool value) { promise->set_value(value); }});
  });
  if (met.wait_for(timeout) == std::future_status::ready) return met.get();
  // The condition must not outlive what it refers to.
  Run([this] { waiters_.clear(); });
  return false;
}

void OwnerThread::Run(std::function<void()> work) {
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> finished = done->get_future();
  mailbox.Post([&work, done = std::move(done)] {
    work();
    done->set_value();
  });
  ASSERT_EQ(finished.wait_for(std::chrono::minutes(1)), std::future_status::ready)
      << "the owner's thread does not answer";
}

}  // namespace baton
