#include "common/rpc/outbox.h"

#include <gtest/gtest.h>

#include <string>

namespace baton::rpc {
namespace {

struct Message {
  std::string text;
  size_t ByteSizeLong() const { return text.size(); }
};

TEST(Outbox, BoundsMessages) {
  Outbox<Message> box({.queued_messages = 2, .queued_bytes = 100});
  EXPECT_TRUE(box.Push({"a"}));
  EXPECT_TRUE(box.Push({"b"}));
  EXPECT_FALSE(box.Push({"c"}));
  EXPECT_EQ(box.Front().text, "a");
  box.PopFront();
  EXPECT_TRUE(box.Push({"d"}));
  box.PopFront();
  EXPECT_EQ(box.Front().text, "d");
}

TEST(Outbox, BoundsBytesButTakesOneLargeMessage) {
  Outbox<Message> box({.queued_messages = 10, .queued_bytes = 4});
  EXPECT_TRUE(box.Push({std::string(50, 'x')}));
  EXPECT_FALSE(box.Push({"y"}));
  box.PopFront();
  EXPECT_TRUE(box.empty());
  EXPECT_TRUE(box.Push({"1234"}));
  EXPECT_FALSE(box.Push({"5"}));
}

TEST(Outbox, ClearKeepsTheMessageInFlightAndItsBytes) {
  Outbox<Message> box({.queued_messages = 10, .queued_bytes = 4});
  ASSERT_TRUE(box.Push({"12"}));
  ASSERT_TRUE(box.Push({"34"}));
  box.Clear(/*keep_front=*/true);
  EXPECT_EQ(box.Front().text, "12");
  EXPECT_FALSE(box.Push({"567"}));
  EXPECT_TRUE(box.Push({"56"}));
  box.Clear(/*keep_front=*/false);
  EXPECT_TRUE(box.empty());
}

}  // namespace
}  // namespace baton::rpc
