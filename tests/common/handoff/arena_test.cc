#include "common/handoff/arena.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "common/handoff/credit_queue.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {
namespace {

TEST(ArenaTest, SpansAreAlignedAndComeBack) {
  kernels::AlignedBuffer<std::byte> memory(1024);
  Arena arena(memory.span());
  auto a = arena.TryTake(100);
  auto b = arena.TryTake(1);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->bytes().size(), 100u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b->bytes().data()) % Arena::kAlignment, 0u);
  EXPECT_EQ(arena.used(), 128u + 64u);
  EXPECT_FALSE(arena.TryTake(1024));
  a.reset();
  ArenaSpan moved = std::move(*b);
  EXPECT_EQ(arena.used(), 64u);
  moved.Reset();
  EXPECT_EQ(arena.used(), 0u);
  EXPECT_TRUE(arena.TryTake(1024));
}

TEST(ArenaTest, MoreThanTheArenaIsRefused) {
  kernels::AlignedBuffer<std::byte> memory(128);
  Arena arena(memory.span());
  EXPECT_FALSE(arena.TryTake(129));
  EXPECT_FALSE(arena.TryTake(static_cast<size_t>(-1)));
}

TEST(ArenaTest, RandomTakesNeverOverlapAndGapsMerge) {
  const uint64_t seed = 20251121;
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  kernels::AlignedBuffer<std::byte> memory(1 << 16);
  Arena arena(memory.span());
  std::vector<ArenaSpan> held;
  for (int i = 0; i < 20000; ++i) {
    if (held.empty() || rng() % 2 == 0) {
      if (auto span = arena.TryTake(1 + rng() % 5000)) held.push_back(std::move(*span));
    } else {
      std::swap(held[rng() % held.size()], held.back());
      held.pop_back();
    }
    for (size_t j = 0; j + 1 < held.size(); ++j) {
      const auto a = held[j].bytes(), b = held.back().bytes();
      ASSERT_TRUE(a.data() + a.size() <= b.data() || b.data() + b.size() <= a.data());
    }
  }
  held.clear();
  EXPECT_EQ(arena.used(), 0u);
  EXPECT_TRUE(arena.TryTake(1 << 16));
}

class CreditQueueTest : public ::testing::Test {
 protected:
  std::vector<uint32_t> Pump() {
    std::vector<uint32_t> slabs;
    credits.Pump([&](const CreditQueue::Claim& claim, ArenaSpan span) {
      slabs.push_back(claim.slab);
      spans.push_back(std::move(span));
    });
    return slabs;
  }

  const TransferId a{0, 1}, b{0, 2};
  kernels::AlignedBuffer<std::byte> memory{1024};
  Arena arena{memory.span()};
  CreditQueue credits{arena};
  std::vector<ArenaSpan> spans;
};

TEST_F(CreditQueueTest, HeadIsNeverOvertaken) {
  credits.Ask({a, 1, 0, 640});
  credits.Ask({b, 1, 1, 640});
  credits.Ask({a, 1, 2, 64});
  EXPECT_EQ(Pump(), (std::vector<uint32_t>{0}));
  EXPECT_EQ(Pump(), (std::vector<uint32_t>{}));
  spans.clear();
  EXPECT_EQ(Pump(), (std::vector<uint32_t>{1, 2}));
  EXPECT_LE(arena.used(), arena.capacity());
}

TEST_F(CreditQueueTest, WithdrawnClaimsMakeRoom) {
  credits.Ask({a, 1, 0, 1024});
  credits.Ask({a, 1, 1, 1024});
  credits.Ask({b, 1, 2, 64});
  EXPECT_EQ(Pump(), (std::vector<uint32_t>{0}));
  credits.Withdraw(a);
  EXPECT_EQ(credits.waiting(), 1u);
  spans.clear();
  EXPECT_EQ(Pump(), (std::vector<uint32_t>{2}));
}

}  // namespace
}  // namespace baton
