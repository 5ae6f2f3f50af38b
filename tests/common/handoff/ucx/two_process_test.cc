// Two processes of one host, over the fabric that UCX chooses and over TCP alone.
#include <gmock/gmock.h>

#include "tests/common/handoff/ucx/child_process.h"
#include "tests/common/handoff/ucx/harness.h"

namespace baton::ucx {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

constexpr size_t kSizes[] = {1, 2, 127, 4096, 65'537, 1 << 20, 4'194'301, 8'388'608, 16 << 20};
// The longest that the loss of a peer may go unnoticed; a wait, not a speed.
constexpr std::chrono::seconds kNoticeLimit{10};

enum class Fabric { kSharedMemory, kTcp };

class TwoProcesses : public testing::TestWithParam<Fabric> {
 protected:
  static UcxConfig Config() {
    UcxConfig config;
    if (GetParam() == Fabric::kTcp) config.settings = {{"TLS", "tcp"}};
    return config;
  }
  static ChildProcess Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), UCX_TEST_PEER);
    if (GetParam() == Fabric::kTcp) return {std::move(arguments), {{"UCX_TLS", "tcp"}}};
    return ChildProcess(std::move(arguments));
  }
  static testing::Matcher<std::string> IsTheFabric() {
    if (GetParam() == Fabric::kTcp) return HasSubstr(": tcp");
    return testing::AllOf(AnyOf(HasSubstr("posix"), HasSubstr("sysv")), Not(HasSubstr("tcp")));
  }
};

TEST_P(TwoProcesses, SlabsOfAllSizesArriveIntact) {
  Receiver receiver(size_t{64} << 20, Config());
  std::vector<std::string> arguments = {"send", receiver.endpoint};
  for (size_t bytes : kSizes) arguments.push_back(std::to_string(bytes));
  ChildProcess child = Child(arguments);
  std::vector<bool> seen(std::size(kSizes));
  size_t offset = 0;
  Statuses landed;
  for (size_t count = 0; count < std::size(kSizes);) {
    auto slabs = receiver.slabs.Take(1);
    ASSERT_FALSE(slabs.empty());
    for (auto& slab : slabs) {
      const uint64_t seed = SeedOf(slab->header());
      ASSERT_LT(seed, std::size(kSizes));
      EXPECT_FALSE(seen[seed]);
      seen[seed] = true;
      EXPECT_EQ(slab->header(), SeedHeader(seed));
      EXPECT_EQ(slab->peer().worker.value(), "sender");
      EXPECT_EQ(slab->peer().incarnation.value(), 77u);
      ASSERT_EQ(slab->payload_bytes(), kSizes[seed]);
      const std::span<std::byte> landing = std::span(receiver.arena).subspan(offset, kSizes[seed]);
      offset += landing.size();
      slab->Accept(landing, landed.Putter());
      EXPECT_EQ(landed.Take(1), std::vector{absl::OkStatus()});
      EXPECT_EQ(FirstWrong(seed, landing), landing.size()) << seed;
      ++count;
    }
  }
  for (size_t i = 0; i < std::size(kSizes); ++i)
    EXPECT_THAT(child.Expect("done"), HasSubstr(" OK"));
  EXPECT_THAT(child.Fabric(), IsTheFabric());
  EXPECT_THAT(receiver.transport->Describe(), IsTheFabric());
  EXPECT_EQ(child.Finish(), 0);
}

TEST_P(TwoProcesses, TheOtherWayRound) {
  ChildProcess child = Child({"receive"});
  Sender sender(child.Expect("endpoint"), size_t{32} << 20, Config());
  constexpr size_t kBytes = 1 << 20;
  for (uint64_t i = 0; i < 32; ++i) {
    sender.Send(i, std::span(sender.arena).subspan(i * kBytes, kBytes));
  }
  for (uint64_t i = 0; i < 32; ++i) EXPECT_THAT(child.Expect("landed"), HasSubstr(" 0 OK"));
  size_t done = 0;
  while (done < 32) {
    const auto statuses = sender.done.Take(1);
    ASSERT_FALSE(statuses.empty());
    for (const auto& status : statuses) EXPECT_TRUE(status.ok()) << status;
    done += statuses.size();
  }
  EXPECT_THAT(sender.transport->Describe(), IsTheFabric());
}

TEST_P(TwoProcesses, AReceiverKilledMidRendezvousFailsTheSends) {
  ChildProcess child = Child({"hold"});
  Sender sender(child.Expect("endpoint"), size_t{32} << 20, Config());
  for (uint64_t i = 0; i < 4; ++i)
    sender.Send(i, std::span(sender.arena).subspan(i << 20, 1 << 20));
  for (int i = 0; i < 4; ++i) ASSERT_NE(child.Expect("announced"), "");
  EXPECT_EQ(sender.done.size(), 0u);
  child.Kill();
  const auto lost = sender.lost.Take(1, kNoticeLimit);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].code(), absl::StatusCode::kUnavailable) << lost[0];
  const auto done = sender.done.Take(4, kNoticeLimit);
  ASSERT_EQ(done.size(), 4u);
  for (const auto& status : done)
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

TEST_P(TwoProcesses, ASenderKilledMidRendezvousFailsTheLandings) {
  Receiver receiver(size_t{64} << 20, Config());
  ChildProcess child = Child({"send", receiver.endpoint, "8388608", "8388608", "8388608"});
  auto slabs = receiver.slabs.Take(3);
  ASSERT_EQ(slabs.size(), 3u);
  child.Kill();
  Statuses landed;
  for (size_t i = 0; i < 3; ++i) {
    slabs[i]->Accept(std::span(receiver.arena).subspan(i << 23, 8'388'608), landed.Putter());
  }
  const auto ends = landed.Take(3, kNoticeLimit);
  ASSERT_EQ(ends.size(), 3u);
  for (const auto& status : ends)
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  // The receiver serves others.
  Sender sender(receiver.endpoint, 4096, Config());
  sender.Send(1, sender.arena);
  EXPECT_EQ(receiver.slabs.Take(1).size(), 1u);
}

// Killed while bytes move: what had landed by then is OK, the rest fails, and nothing stays open.
TEST_P(TwoProcesses, ASenderKilledWhileBytesMoveSettlesEveryLanding) {
  constexpr size_t kSlabs = 8, kBytes = 16 << 20;
  Receiver receiver(kSlabs * kBytes, Config());
  std::vector<std::string> arguments = {"send", receiver.endpoint};
  arguments.insert(arguments.end(), kSlabs, std::to_string(kBytes));
  ChildProcess child = Child(arguments);
  auto slabs = receiver.slabs.Take(kSlabs);
  ASSERT_EQ(slabs.size(), kSlabs);
  Statuses landed;
  for (size_t i = 0; i < kSlabs; ++i) {
    slabs[i]->Accept(std::span(receiver.arena).subspan(i * kBytes, kBytes), landed.Putter());
  }
  child.Kill();
  const auto ends = landed.Take(kSlabs, kNoticeLimit);
  ASSERT_EQ(ends.size(), kSlabs);
  for (const auto& status : ends) {
    EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kUnavailable) << status;
  }
}

INSTANTIATE_TEST_SUITE_P(, TwoProcesses, testing::Values(Fabric::kSharedMemory, Fabric::kTcp),
                         [](const auto& info) {
                           return info.param == Fabric::kTcp ? "Tcp" : "SharedMemory";
                         });

}  // namespace
}  // namespace baton::ucx
