#include "decode_node/page_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace baton {
namespace {

using Answer = PageDesk::Answer;
using Phase = Reservation::Phase;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PageDeskTest : public ::testing::Test {
 protected:
  // A reservation of a prompt of one page and `pages` pages in all.
  Reservation& Make(int pages) {
    EngineRequest request;
    for (int i = 0; i < 16; ++i) request.prompt.push_back(i);
    request.stop.max_tokens = 16 * (pages - 1);
    const SequenceKey key = made.size() + 1;
    made.push_back(std::make_unique<Reservation>(
        key, std::move(request), TransferReceiver({{0, key}, {2, 2, 16}, 16, 4096, 100}, 1)));
    made.back()->pages_needed = pages;
    return *made.back();
  }
  std::vector<SequenceKey> Serve() {
    std::vector<SequenceKey> served;
    desk.ServeQueue([&](Reservation& reservation) { served.push_back(reservation.key); });
    return served;
  }
  void End(Reservation& reservation) {
    desk.Release(reservation);
    reservation.pages.Clear();
  }

  PageDesk desk{{.pool = {.page_count = 10, .page_tokens = 16, .prefix_cache = true},
                 .max_queue = 2,
                 .max_pending_kv = 0.5}};
  std::vector<std::unique_ptr<Reservation>> made;
};

TEST_F(PageDeskTest, OneWaitsWhateverItsSizeOthersWithinTheShare) {
  Reservation& large = Make(8);
  Reservation& small = Make(2);
  EXPECT_EQ(desk.Ask(large), Answer::kReserved);
  EXPECT_EQ(desk.Ask(small), Answer::kQueued);
  EXPECT_THAT(Serve(), IsEmpty());
  desk.KvComplete(large);
  EXPECT_THAT(Serve(), ElementsAre(small.key));
  EXPECT_EQ(small.phase, Phase::kWaiting);
  EXPECT_EQ(desk.waiting_pages(), 2);
}

TEST_F(PageDeskTest, QueueIsBoundedAndInOrder) {
  Reservation& first = Make(10);
  EXPECT_EQ(desk.Ask(first), Answer::kReserved);
  Reservation& second = Make(6);
  Reservation& third = Make(1);
  Reservation& fourth = Make(1);
  EXPECT_EQ(desk.Ask(second), Answer::kQueued);
  EXPECT_EQ(desk.Ask(third), Answer::kQueued);
  EXPECT_EQ(desk.Ask(fourth), Answer::kFull);
  desk.KvComplete(first);
  EXPECT_THAT(Serve(), IsEmpty());
  // Leaving from the middle of the queue, then room for all that is left.
  End(second);
  End(first);
  EXPECT_THAT(Serve(), ElementsAre(third.key));
}

TEST_F(PageDeskTest, MatchedPagesGoBackBeforeTheNextAttempt) {
  v1::KvProducer producer;
  producer.set_scheme("w8a8");
  Reservation& first = Make(2);
  ASSERT_EQ(desk.Ask(first), Answer::kReserved);
  EXPECT_EQ(desk.Match(first, producer), 0u);
  desk.KvComplete(first);
  Reservation& second = Make(2);
  ASSERT_EQ(desk.Ask(second), Answer::kReserved);
  EXPECT_EQ(desk.Match(second, producer), 16u);
  EXPECT_EQ(second.matched_pages, 1);
  EXPECT_EQ(second.pages.ids()[0], first.pages.ids()[0]);
  EXPECT_EQ(desk.pool().allocator().used_count(), 3);
  // Somebody takes all other pages: the next attempt has to wait at the head of the queue.
  Reservation& third = Make(3);
  Reservation& fourth = Make(5);
  ASSERT_EQ(desk.Ask(third), Answer::kReserved);
  desk.KvComplete(third);
  ASSERT_EQ(desk.Ask(fourth), Answer::kQueued);  // the share is taken by the second
  EXPECT_EQ(desk.AskAgain(second), Answer::kReserved);
  EXPECT_EQ(second.matched_pages, 0);
  EXPECT_NE(second.pages.ids()[0], first.pages.ids()[0]);
  for (auto& reservation : made) End(*reservation);
  EXPECT_EQ(desk.waiting_pages(), 0);
  EXPECT_EQ(desk.pool().available(), 10);
}

TEST_F(PageDeskTest, NextAttemptWithoutRoomWaitsAtTheHead) {
  v1::KvProducer producer;
  Reservation& first = Make(5);
  ASSERT_EQ(desk.Ask(first), Answer::kReserved);
  desk.Match(first, producer);
  desk.KvComplete(first);
  Reservation& second = Make(2);
  ASSERT_EQ(desk.Ask(second), Answer::kReserved);
  ASSERT_EQ(desk.Match(second, producer), 16u);
  // Others take the page that the match set free and all the rest.
  Reservation& third = Make(3);
  Reservation& fourth = Make(1);
  for (Reservation* other : {&third, &fourth}) {
    ASSERT_EQ(desk.Ask(*other), Answer::kReserved);
    desk.KvComplete(*other);
  }
  Reservation& fifth = Make(1);
  EXPECT_EQ(desk.Ask(fifth), Answer::kQueued);
  EXPECT_EQ(desk.AskAgain(second), Answer::kQueued);
  EXPECT_EQ(second.phase, Phase::kQueued);
  EXPECT_TRUE(second.pages.empty());
  EXPECT_EQ(desk.queue().front(), &second);
  EXPECT_THAT(Serve(), IsEmpty());
  End(third);
  EXPECT_THAT(Serve(), ElementsAre(second.key, fifth.key));
  for (auto& reservation : made) End(*reservation);
  EXPECT_EQ(desk.pool().available(), 10);
}

}  // namespace
}  // namespace baton
