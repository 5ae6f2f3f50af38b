#include "common/worker/serve_loop.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"

namespace baton {
namespace {

using std::chrono::milliseconds;

class ServeLoopTest : public testing::Test {
 protected:
  ServeLoopTest() {
    role_.tick = [this] { ++ticks_; };
    role_.load = [this] {
      v1::LoadReport load;
      load.set_ready(role_ready_);
      return load;
    };
    role_.drain = [this](TimePoint deadline) { drain_deadline_ = deadline; };
    role_.drained = [this] { return drained_; };
  }
  bool Stopped() {
    // A stopped mailbox drops what is posted.
    bool ran = false;
    mailbox_.Post([&ran] { ran = true; });
    mailbox_.RunAll();
    return !ran;
  }

  FakeClock clock_;
  Logger logger_{{.level = LogLevel::kError}};
  Mailbox mailbox_{clock_};
  WorkerRole role_;
  int ticks_ = 0;
  bool role_ready_ = true, drained_ = false;
  std::optional<TimePoint> drain_deadline_;
  std::vector<bool> readiness_;
  ServeLoop loop_{
      {.drain_timeout = std::chrono::seconds(9)},         role_, nullptr, clock_, mailbox_, logger_,
      [this](bool ready) { readiness_.push_back(ready); }};
};

TEST_F(ServeLoopTest, ReadinessFollowsTheRole) {
  role_ready_ = false;
  loop_.Tick();
  EXPECT_TRUE(readiness_.empty());
  role_ready_ = true;
  loop_.Tick();
  EXPECT_TRUE(readiness_.empty());  // looked at ten times a second
  clock_.Advance(milliseconds(100));
  loop_.Tick();
  EXPECT_EQ(readiness_, std::vector<bool>{true});
  role_ready_ = false;
  clock_.Advance(milliseconds(100));
  loop_.Tick();
  EXPECT_EQ(readiness_, (std::vector<bool>{true, false}));
  EXPECT_EQ(ticks_, 4);
}

TEST_F(ServeLoopTest, FirstSignalDrainsAndEndsWhenNothingIsLeft) {
  loop_.Tick();
  loop_.StopRequested(1);
  EXPECT_EQ(readiness_, (std::vector<bool>{true, false}));  // at once
  EXPECT_EQ(drain_deadline_, clock_.Now() + std::chrono::seconds(9));
  loop_.Tick();
  EXPECT_FALSE(Stopped());
  drain_deadline_.reset();
  loop_.StopRequested(1);  // the router's command on top
  EXPECT_FALSE(drain_deadline_.has_value());
  drained_ = true;
  loop_.Tick();
  EXPECT_TRUE(Stopped());
}

TEST_F(ServeLoopTest, SecondSignalStopsAtOnce) {
  loop_.StopRequested(1);
  loop_.StopRequested(2);
  EXPECT_TRUE(Stopped());
}

}  // namespace
}  // namespace baton
