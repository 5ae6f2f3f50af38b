#include "common/base/mailbox.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/base/thread.h"
#include "tests/fakes/fake_clock.h"

namespace baton {
namespace {

TEST(MailboxTest, RunsInOrderIncludingEventsPostedByEvents) {
  FakeClock clock;
  Mailbox mailbox(clock);
  std::vector<int> seen;
  mailbox.Post([&] {
    seen.push_back(1);
    mailbox.Post([&] { seen.push_back(3); });
  });
  mailbox.Post([&] { seen.push_back(2); });
  EXPECT_EQ(mailbox.RunAll(), 3);
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
  EXPECT_FALSE(mailbox.RunOne());
}

TEST(MailboxTest, RunTicksAndStops) {
  RealClock clock;
  Mailbox mailbox(clock);
  int events = 0;
  int ticks = 0;
  Thread owner("owner", [&] {
    mailbox.Run(std::chrono::milliseconds(1), [&] {
      if (++ticks == 3) mailbox.Stop();
    });
  });
  mailbox.Post([&] { ++events; });
  owner.Join();
  EXPECT_EQ(events, 1);
  EXPECT_EQ(ticks, 3);
  mailbox.Post([&] { ++events; });
  EXPECT_FALSE(mailbox.RunOne());
}

}  // namespace
}  // namespace baton
