#pragma once

#include <functional>
#include <list>
#include <memory>

#include "common/base/clock.h"
#include "common/base/mailbox.h"
#include "common/base/thread.h"

namespace baton {

// The thread that owns a component: runs its mailbox and lets a test look at what only this thread
// may touch. A test waits for conditions here, never for time.
class OwnerThread {
 public:
  explicit OwnerThread(Clock& clock) : mailbox(clock) {}
  ~OwnerThread() { Join(); }

  // `tick` as Mailbox::Run wants it; `end` runs on the thread when the mailbox has stopped.
  void Start(const std::string& name, Duration period, std::function<void()> tick,
             std::function<void()> end);
  void Join() { thread_.Join(); }

  // Whether the condition came true in time. It is looked at on the owner's thread after each batch
  // of events. False when the thread ends.
  bool Await(std::function<bool()> condition, Duration timeout);
  // Runs `work` on the owner's thread and returns after it.
  void Run(std::function<void()> work);

  Mailbox mailbox;

 private:
  struct Waiter {
    std::function<bool()> condition;
    std::function<void(bool)> answer;
  };
  void LookAtWaiters();

  std::list<Waiter> waiters_;  // the owner's thread only
  Thread thread_;
};

}  // namespace baton
