#include "common/handoff/receiver.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "common/base/status.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::SlabRange;
using State = TransferReceiver::State;
using DropReason = TransferReceiver::DropReason;

constexpr kernels::KvFormats kFp16{KvFormat::kFp16, KvFormat::kFp16};
const kernels::KvGeometry kGeometry{2, 2, 16};

class TransferReceiverTest : public ::testing::Test {
 protected:
  void Grant(uint32_t first_wanted = 0, uint32_t prompt_tokens = 8) {
    receiver.emplace(TransferReceiver::Config{kTransfer, kGeometry, prompt_tokens, 4096, 1000}, 1);
    const auto grant = receiver->Grant(v1::KV_FORMAT_FP16, kFp16, first_wanted);
    EXPECT_EQ(grant.grant().first_wanted(), first_wanted);
  }
  uint64_t PayloadBytes(const SlabRange& range) const {
    return kernels::SlabLayout::Make(range, kFp16, kGeometry.head_dim)->payload_bytes();
  }
  v1::HandoffNeedCredit Need(uint32_t slab, const SlabRange& range) const {
    v1::HandoffNeedCredit need;
    need.set_slab(slab);
    need.mutable_range()->set_first_layer(range.l0);
    need.mutable_range()->set_end_layer(range.l1);
    need.mutable_range()->set_first_head(range.h0);
    need.mutable_range()->set_end_head(range.h1);
    need.mutable_range()->set_first_token(range.t0);
    need.mutable_range()->set_end_token(range.t1);
    need.set_bytes(PayloadBytes(range) + kernels::SlabHeader::kBytes);
    return need;
  }
  kernels::SlabHeader Header(uint32_t slab, const SlabRange& range, uint64_t payload_sum,
                             uint32_t attempt = 1) const {
    kernels::SlabHeader header;
    header.attempt = attempt;
    header.slab_number = slab;
    header.range = range;
    header.formats = kFp16;
    header.payload_bytes = PayloadBytes(range);
    header.checksum = payload_sum + kernels::HeaderChecksum(header);
    return header;
  }
  // From the question for credit to the Ack; the payload's sum stands for the payload.
  v1::AckCode Deliver(uint32_t slab, const SlabRange& range, uint64_t sum, uint64_t arrives) {
    EXPECT_TRUE(std::holds_alternative<TransferReceiver::CreditWanted>(
        receiver->OnNeedCredit(1, Need(slab, range))));
    EXPECT_TRUE(receiver->OnCredit(1, slab, *arena.TryTake(PayloadBytes(range))));
    const auto header = Header(slab, range, sum);
    auto landing = receiver->OnIncoming(header, header.payload_bytes);
    EXPECT_TRUE(std::holds_alternative<TransferReceiver::Landing>(landing));
    auto landed = receiver->OnLanded(header, absl::OkStatus());
    EXPECT_TRUE(std::holds_alternative<TransferReceiver::Scatter>(landed));
    auto scattered = receiver->OnScattered(header, arrives);
    digest += kernels::DigestTerm(header.checksum, slab);
    bytes += header.payload_bytes + kernels::SlabHeader::kBytes;
    ++slabs;
    return std::get<v1::HandoffResponse>(scattered).ack().code();
  }
  v1::HandoffCommit Commit(uint32_t first_wanted = 0, uint32_t prompt_tokens = 8) const {
    v1::HandoffCommit commit;
    commit.set_first_token(5);
    commit.set_first_token_index(first_wanted);
    commit.set_end_token(prompt_tokens);
    commit.set_slabs(slabs);
    commit.set_bytes_wire(bytes);
    commit.set_digest(digest);
    return commit;
  }

  const TransferId kTransfer{1, 2};
  kernels::AlignedBuffer<std::byte> memory{1 << 16};
  Arena arena{memory.span()};
  std::optional<TransferReceiver> receiver;
  uint64_t digest = 0, bytes = 0;
  uint32_t slabs = 0;
};

// Splits the wanted block at random into slabs, by layer, head and token.
std::vector<SlabRange> RandomTiling(std::mt19937_64& rng, const SlabRange& block, int depth) {
  const uint32_t l = block.l1 - block.l0, h = block.h1 - block.h0, t = block.t1 - block.t0;
  SlabRange a = block, b = block;
  const auto axis = rng() % 3;
  if (depth == 0) return {block};
  if (axis == 0 && l > 1) {
    a.l1 = b.l0 = block.l0 + 1 + static_cast<uint32_t>(rng() % (l - 1));
  } else if (axis == 1 && h > 1) {
    a.h1 = b.h0 = block.h0 + 1 + static_cast<uint32_t>(rng() % (h - 1));
  } else if (t > 1) {
    a.t1 = b.t0 = block.t0 + 1 + static_cast<uint32_t>(rng() % (t - 1));
  } else {
    return {block};
  }
  auto tiles = RandomTiling(rng, a, depth - 1);
  for (const auto& tile : RandomTiling(rng, b, depth - 1)) tiles.push_back(tile);
  return tiles;
}

TEST_F(TransferReceiverTest, AnyTilingInAnyOrderCompletesExactlyAtItsEnd) {
  const uint64_t seed = 7;
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  for (int round = 0; round < 200; ++round) {
    digest = bytes = 0;
    slabs = 0;
    Grant(3, 20);
    auto tiles = RandomTiling(rng, {0, 2, 0, 2, 3, 20}, 4);
    std::shuffle(tiles.begin(), tiles.end(), rng);
    for (size_t i = 0; i < tiles.size(); ++i) {
      EXPECT_TRUE(std::holds_alternative<TransferReceiver::Ignored>(receiver->TryComplete()));
      const uint64_t sum = rng();
      EXPECT_EQ(Deliver(static_cast<uint32_t>(i * 3), tiles[i], sum, sum), v1::ACK_CODE_OK);
    }
    receiver->OnCommit(1, Commit(3, 20));
    EXPECT_TRUE(std::holds_alternative<TransferReceiver::Completed>(receiver->TryComplete()));
    EXPECT_EQ(receiver->state(), State::kComplete);
    EXPECT_EQ(receiver->slabs(), tiles.size());
    EXPECT_EQ(arena.used(), 0u);
    // Once: later questions find nothing to do.
    EXPECT_TRUE(std::holds_alternative<TransferReceiver::Ignored>(receiver->TryComplete()));
  }
}

TEST_F(TransferReceiverTest, ZeroSlabsCompleteAFullPrefixMatch) {
  Grant(8, 8);
  receiver->OnCommit(1, Commit(8, 8));
  EXPECT_TRUE(std::holds_alternative<TransferReceiver::Completed>(receiver->TryComplete()));
}

TEST_F(TransferReceiverTest, BadSlabCountsOnceItIsGood) {
  Grant();
  EXPECT_EQ(Deliver(0, {0, 2, 0, 2, 0, 8}, 10, 11), v1::ACK_CODE_BAD_CHECKSUM);
  digest = bytes = 0;
  slabs = 0;
  EXPECT_EQ(Deliver(0, {0, 2, 0, 2, 0, 8}, 10, 10), v1::ACK_CODE_OK);
  receiver->OnCommit(1, Commit());
  EXPECT_TRUE(std::holds_alternative<TransferReceiver::Completed>(receiver->TryComplete()));
}

TEST_F(TransferReceiverTest, EventsOfAnotherAttemptAreLate) {
  Grant();
  const SlabRange range{0, 2, 0, 2, 0, 8};
  receiver->OnNeedCredit(1, Need(0, range));
  receiver->OnCredit(1, 0, *arena.TryTake(PayloadBytes(range)));
  const auto header = Header(0, range, 1);
  receiver->OnIncoming(header, header.payload_bytes);
  receiver->Rebind(2);
  EXPECT_EQ(receiver->state(), State::kExpecting);
  EXPECT_EQ(arena.used(), 0u);
  const auto late = [](const auto& outcome) {
    return std::get<TransferReceiver::Dropped>(outcome).reason == DropReason::kLate;
  };
  EXPECT_TRUE(late(receiver->OnLanded(header, absl::OkStatus())));
  EXPECT_TRUE(late(receiver->OnScattered(header, 1)));
  EXPECT_TRUE(late(receiver->OnNeedCredit(1, Need(1, range))));
  EXPECT_TRUE(late(receiver->OnCommit(1, Commit())));
  EXPECT_TRUE(late(receiver->OnIncoming(header, header.payload_bytes)));
  EXPECT_FALSE(receiver->OnCredit(1, 0, *arena.TryTake(64)));
  EXPECT_EQ(arena.used(), 0u);
}

TEST_F(TransferReceiverTest, LandingSpanSurvivesTheAttemptUntilReleased) {
  Grant();
  const SlabRange range{0, 2, 0, 2, 0, 8};
  receiver->OnNeedCredit(1, Need(0, range));
  receiver->OnCredit(1, 0, *arena.TryTake(PayloadBytes(range)));
  const auto header = Header(0, range, 1);
  auto landing =
      std::get<TransferReceiver::Landing>(receiver->OnIncoming(header, header.payload_bytes));
  receiver->EndAttempt();
  EXPECT_GT(arena.used(), 0u);
  landing.hold.reset();
  EXPECT_EQ(arena.used(), 0u);
}

TEST_F(TransferReceiverTest, FailedLandingIsBad) {
  Grant();
  const SlabRange range{0, 2, 0, 2, 0, 8};
  receiver->OnNeedCredit(1, Need(0, range));
  receiver->OnCredit(1, 0, *arena.TryTake(PayloadBytes(range)));
  const auto header = Header(0, range, 1);
  receiver->OnIncoming(header, header.payload_bytes);
  auto outcome = receiver->OnLanded(header, Unavailable("peer lost"));
  EXPECT_EQ(std::get<v1::HandoffResponse>(outcome).ack().code(), v1::ACK_CODE_BAD_CHECKSUM);
  EXPECT_EQ(arena.used(), 0u);
}

TEST_F(TransferReceiverTest, HostileNumbersAreRefused) {
  Grant();
  const auto status_of = [&](const v1::HandoffNeedCredit& need) {
    auto outcome = receiver->OnNeedCredit(1, need);
    const auto* status = std::get_if<absl::Status>(&outcome);
    return status == nullptr ? absl::OkStatus() : *status;
  };
  auto need = Need(0, {0, 2, 0, 2, 0, 8});
  need.set_bytes(~uint64_t{0});
  EXPECT_FALSE(status_of(need).ok());
  need.set_bytes(0);
  EXPECT_FALSE(status_of(need).ok());
  need.clear_range();
  EXPECT_FALSE(status_of(need).ok());
  need = Need(0, {0, 2, 0, 2, 0, 8});
  need.mutable_range()->set_end_token(~0u);
  auto outcome = receiver->OnNeedCredit(1, need);
  EXPECT_EQ(std::get<v1::HandoffResponse>(outcome).ack().code(), v1::ACK_CODE_OUT_OF_BOUNDS);
  v1::HandoffCommit commit = Commit();
  commit.set_first_token(1000);
  EXPECT_TRUE(std::holds_alternative<absl::Status>(receiver->OnCommit(1, commit)));
}

TEST(SlabLedgerTest, IsBounded) {
  SlabLedger ledger({0, 1, 0, 1, 0, 1 << 20});
  for (uint32_t i = 0; i < SlabLedger::kMaxSlabs; ++i) {
    EXPECT_FALSE(ledger.full());
    ledger.Ask(i, {0, 1, 0, 1, i, i + 1}, 64);
  }
  EXPECT_TRUE(ledger.full());
}

}  // namespace
}  // namespace baton
