#include "common/handoff/ucx/ucx_transport.h"

#include <gmock/gmock.h>

#include "tests/common/handoff/ucx/harness.h"

namespace baton::ucx {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(UcxTransport, ASlabLandsWhereTheReceiverSays) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  sender.Send(7, std::span(sender.arena).subspan(4096, 100'000));
  auto slabs = receiver.slabs.Take(1);
  ASSERT_EQ(slabs.size(), 1u);
  EXPECT_EQ(slabs[0]->peer().worker, Self().worker);
  EXPECT_EQ(slabs[0]->peer().incarnation, Self().incarnation);
  EXPECT_EQ(slabs[0]->header(), SeedHeader(7));
  ASSERT_EQ(slabs[0]->payload_bytes(), 100'000u);
  const std::span<std::byte> landing = std::span(receiver.arena).subspan(12'345, 100'000);
  Statuses landed;
  slabs[0]->Accept(landing, landed.Putter());
  EXPECT_EQ(landed.Take(1), std::vector{absl::OkStatus()});
  EXPECT_EQ(FirstWrong(7, landing), landing.size());
  EXPECT_EQ(receiver.arena[12'344], std::byte{0});
  EXPECT_EQ(receiver.arena[112'345], std::byte{0});
  EXPECT_EQ(sender.done.Take(1), std::vector{absl::OkStatus()});
  EXPECT_THAT(sender.transport->Describe(), HasSubstr("to " + receiver.endpoint));
  EXPECT_THAT(receiver.transport->Describe(), HasSubstr("from prefill-0"));
}

TEST(UcxTransport, DescribesAConnectionThatIsBeingMade) {
  for (int i = 0; i < 20; ++i) {
    Receiver receiver(4096);
    Sender sender(receiver.endpoint, 4096);
    std::string text = sender.transport->Describe();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (text.ends_with("none") && std::chrono::steady_clock::now() < end) {
      (void)receiver.transport->Describe();
      text = sender.transport->Describe();
    }
    EXPECT_THAT(text, AllOf(HasSubstr("to " + receiver.endpoint), Not(HasSubstr("none"))));
  }
}

TEST(UcxTransport, NothingMovesBeforeAcceptAndARefusalFreesTheSender) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  sender.Send(1, std::span(sender.arena).subspan(0, 1 << 20));
  auto slabs = receiver.slabs.Take(1);
  ASSERT_EQ(slabs.size(), 1u);
  EXPECT_EQ(sender.done.size(), 0u);
  slabs.clear();  // refuses
  EXPECT_EQ(sender.done.Take(1), std::vector{absl::OkStatus()});
  EXPECT_EQ(receiver.arena[0], std::byte{0});
  // The connection goes on.
  sender.Send(2, std::span(sender.arena).subspan(0, 10));
  slabs = receiver.slabs.Take(1);
  ASSERT_EQ(slabs.size(), 1u);
  EXPECT_EQ(SeedOf(slabs[0]->header()), 2u);
}

TEST(UcxTransport, AWrongLandingSpanIsRefused) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  sender.Send(1, std::span(sender.arena).subspan(0, 1000));
  sender.Send(2, std::span(sender.arena).subspan(1000, 1000));
  auto slabs = receiver.slabs.Take(2);
  ASSERT_EQ(slabs.size(), 2u);
  Statuses landed;
  slabs[0]->Accept(std::span(receiver.arena).subspan(0, 999), landed.Putter());
  std::vector<std::byte> elsewhere(1000);
  slabs[1]->Accept(elsewhere, landed.Putter());
  for (const absl::Status& status : landed.Take(2)) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
  EXPECT_EQ(sender.done.Take(2).size(), 2u);
  std::vector<std::byte> unregistered(10);
  sender.connection->Send(SeedHeader(3), unregistered, sender.done.Putter());
  const auto refused = sender.done.Take(1);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].code(), absl::StatusCode::kInvalidArgument);
}

TEST(UcxTransport, AnUnreachableEndpointFailsItsSends) {
  std::string endpoint;
  {
    Receiver receiver(4096);
    endpoint = receiver.endpoint;
  }
  Sender sender(endpoint, 4096);
  sender.Send(1, sender.arena);
  const auto done = sender.done.Take(1);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].code(), absl::StatusCode::kUnavailable) << done[0];
  const auto lost = sender.lost.Take(1);
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].code(), absl::StatusCode::kUnavailable) << lost[0];
  sender.Send(2, sender.arena);
  EXPECT_EQ(sender.done.Take(1).size(), 1u);
}

TEST(UcxTransport, AMalformedEndpointFailsAtOnce) {
  auto transport = MakeTransport();
  EXPECT_FALSE(transport->Connect("nowhere", Self(), {}).ok());
  EXPECT_FALSE(transport->Listen("nowhere", [](auto) {}).ok());
  EXPECT_FALSE(transport->Connect("127.0.0.1:1", {WorkerId(""), Incarnation(1)}, {}).ok());
}

TEST(UcxTransport, ATakenPortIsAnError) {
  Receiver receiver(4096);
  auto second = MakeTransport();
  EXPECT_FALSE(second->Listen(receiver.endpoint, [](auto) {}).ok());
  EXPECT_FALSE(receiver.transport->Listen("127.0.0.1:0", [](auto) {}).ok());  // once only
}

TEST(UcxTransport, DroppingTheConnectionCancelsItsSends) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  for (int i = 0; i < 8; ++i) sender.Send(i, std::span(sender.arena).subspan(i << 20, 1 << 20));
  auto slabs = receiver.slabs.Take(8);
  ASSERT_EQ(slabs.size(), 8u);
  sender.connection.reset();
  const auto done = sender.done.Take(8);
  ASSERT_EQ(done.size(), 8u);
  for (const auto& status : done) EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  EXPECT_EQ(sender.lost.size(), 0u);
  // What the receiver accepts too late ends without having landed.
  Statuses landed;
  slabs[0]->Accept(std::span(receiver.arena).subspan(0, 1 << 20), landed.Putter());
  const auto ends = landed.Take(1);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_FALSE(ends[0].ok());
}

TEST(UcxTransport, CloseWithEverythingInFlightSettlesEverything) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  constexpr size_t kSlabs = 24, kBytes = 1 << 20;
  for (size_t i = 0; i < kSlabs; ++i) {
    sender.Send(i, std::span(sender.arena).subspan(i * kBytes, kBytes));
  }
  auto slabs = receiver.slabs.Take(kSlabs);
  ASSERT_EQ(slabs.size(), kSlabs);
  Statuses landed;
  for (size_t i = 0; i < kSlabs / 2; ++i) {
    slabs[i]->Accept(std::span(receiver.arena).subspan(i * kBytes, kBytes), landed.Putter());
  }
  sender.transport->Close();
  EXPECT_EQ(sender.done.size(), kSlabs);
  receiver.transport->Close();
  EXPECT_EQ(landed.size(), kSlabs / 2);
  // Handles outlive the transport; late calls are answered.
  slabs[kSlabs - 1]->Accept(std::span(receiver.arena).subspan(0, kBytes), landed.Putter());
  EXPECT_EQ(landed.size(), kSlabs / 2 + 1);
  sender.connection->Send(SeedHeader(0), std::span(sender.arena).first(1), sender.done.Putter());
  EXPECT_EQ(sender.done.size(), kSlabs + 1);
  EXPECT_THAT(sender.transport->Describe(), HasSubstr("closed"));
  EXPECT_FALSE(sender.transport->Connect(receiver.endpoint, Self(), {}).ok());
}

TEST(UcxTransport, CloseOfTheReceiverIsALossForTheSender) {
  Receiver receiver;
  Sender sender(receiver.endpoint);
  sender.Send(1, std::span(sender.arena).first(1 << 20));
  ASSERT_EQ(receiver.slabs.Take(1).size(), 1u);
  receiver.transport->Close();
  ASSERT_EQ(sender.lost.Take(1).size(), 1u);
  EXPECT_EQ(sender.done.Take(1).size(), 1u);
}

TEST(UcxTransport, BusyPollingWorksTheSame) {
  UcxConfig config;
  config.poll = UcxConfig::Poll::kBusy;
  Receiver receiver(1 << 20, config);
  Sender sender(receiver.endpoint, 1 << 20, config);
  sender.Send(5, sender.arena);
  auto slabs = receiver.slabs.Take(1);
  ASSERT_EQ(slabs.size(), 1u);
  Statuses landed;
  slabs[0]->Accept(receiver.arena, landed.Putter());
  EXPECT_EQ(landed.Take(1), std::vector{absl::OkStatus()});
  EXPECT_EQ(FirstWrong(5, receiver.arena), receiver.arena.size());
}

TEST(UcxTransport, ManyConnectionsFromManyThreads) {
  constexpr int kSenders = 4, kSlabs = 50;
  constexpr size_t kBytes = 64 << 10;
  Receiver receiver(size_t{kSenders} * kSlabs * kBytes);
  std::vector<std::unique_ptr<Sender>> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.push_back(std::make_unique<Sender>(receiver.endpoint, kSlabs * kBytes));
  }
  std::vector<std::thread> threads;
  for (int s = 0; s < kSenders; ++s) {
    threads.emplace_back([&, s] {
      for (int i = 0; i < kSlabs; ++i) {
        senders[s]->Send(s * kSlabs + i, std::span(senders[s]->arena).subspan(i * kBytes, kBytes));
      }
    });
  }
  Statuses landed;
  for (int taken = 0; taken < kSenders * kSlabs;) {
    auto slabs = receiver.slabs.Take(1);
    ASSERT_FALSE(slabs.empty());
    for (auto& slab : slabs) {
      const size_t seed = SeedOf(slab->header());
      slab->Accept(std::span(receiver.arena).subspan(seed * kBytes, kBytes), landed.Putter());
      ++taken;
    }
  }
  for (auto& thread : threads) thread.join();
  for (int got = 0; got < kSenders * kSlabs;) {
    const auto statuses = landed.Take(1);
    ASSERT_FALSE(statuses.empty());
    for (const auto& status : statuses) EXPECT_TRUE(status.ok()) << status;
    got += static_cast<int>(statuses.size());
  }
  for (int i = 0; i < kSenders * kSlabs; ++i) {
    EXPECT_EQ(FirstWrong(i, std::span(receiver.arena).subspan(i * kBytes, kBytes)), kBytes) << i;
  }
}

}  // namespace
}  // namespace baton::ucx
