#include "common/rpc/sink_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "common/base/thread.h"

namespace baton::rpc {
namespace {

TEST(SinkGate, NothingAfterStreamClosed) {
  SinkGate<int> gate;
  int messages = 0, ends = 0;
  gate.Attach([&](StreamEvent<int> event) { ++(event.index() == 0 ? messages : ends); });
  gate.Deliver(1);
  gate.Deliver(StreamClosed{});
  gate.Deliver(2);
  gate.Deliver(StreamClosed{});
  EXPECT_EQ(messages, 1);
  EXPECT_EQ(ends, 1);
}

TEST(SinkGate, NothingAfterDetachEvenIfAttachedLater) {
  SinkGate<int> gate;
  int events = 0;
  gate.Detach();
  gate.Attach([&](StreamEvent<int>) { ++events; });
  gate.Deliver(1);
  EXPECT_EQ(events, 0);
}

TEST(SinkGate, TheSinkMayDetachItself) {
  SinkGate<int> gate;
  int events = 0;
  gate.Attach([&](StreamEvent<int>) {
    ++events;
    gate.DetachAndWait();
  });
  gate.Deliver(1);
  gate.Deliver(2);
  EXPECT_EQ(events, 1);
}

TEST(SinkGate, DetachWaitsForTheCallUnderWay) {
  SinkGate<int> gate;
  std::promise<void> entered, release;
  std::atomic<bool> left = false;
  gate.Attach([&](StreamEvent<int>) {
    entered.set_value();
    release.get_future().wait();
    left = true;
  });
  Thread deliverer("deliver", [&] { gate.Deliver(1); });
  entered.get_future().wait();
  std::promise<bool> left_before_return;
  Thread detacher("detach", [&] {
    gate.DetachAndWait();
    left_before_return.set_value(left);
  });
  release.set_value();
  EXPECT_TRUE(left_before_return.get_future().get());
}

}  // namespace
}  // namespace baton::rpc
