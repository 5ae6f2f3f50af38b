#include "common/rpc/client_stream.h"

#include "common/base/pushback.h"
#include "tests/common/rpc/harness.h"

namespace baton::rpc {
namespace {

TEST(ClientStream, EchoesInOrderAndEndsAfterHalfClose) {
  HandoffFixture fixture(Echo());
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  for (uint32_t i = 0; i < 1000; ++i) ASSERT_TRUE(stream->Send(Request("id", i)).ok());
  stream->Close(absl::OkStatus());
  EXPECT_EQ(events.EndCode(), "OK");
  const auto replies = events.Messages(1000);
  ASSERT_EQ(replies.size(), 1000u);
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(replies[i].attempt(), i);
  EXPECT_EQ(stream->Send(Request("late")).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(events.late(), 0);
}

TEST(ClientStream, SendAfterHalfCloseIsRefusedWhileTheServerStillSends) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  stream->Close(absl::OkStatus());
  EXPECT_EQ(stream->Send(Request("x")).code(), absl::StatusCode::kUnavailable);
  auto server_end = accepted.Get();
  EXPECT_EQ(server_end.events.EndCode(), "OK");
  EXPECT_TRUE(server_end.end->Send({}).ok());
  EXPECT_EQ(events.Messages(1).size(), 1u);
  server_end.end->Close(absl::OkStatus());
  EXPECT_EQ(events.EndCode(), "OK");
}

TEST(ClientStream, CloseWithAnErrorCancelsAndAnswersWithIt) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  auto server_end = accepted.Get();
  ASSERT_EQ(server_end.events.Messages(1).size(), 1u);
  stream->Close(Aborted("changed my mind"));
  stream->Close(Internal("the first call counts"));
  EXPECT_EQ(*events.End(), Aborted("changed my mind"));
  EXPECT_EQ(server_end.events.EndCode(), "CANCELLED");
  EXPECT_EQ(server_end.events.late(), 0);
}

TEST(ClientStream, DestructionCancelsAndSilencesTheSink) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  auto server_end = accepted.Get();
  stream.reset();
  EXPECT_EQ(server_end.events.EndCode(), "CANCELLED");
  EXPECT_FALSE(events.ended());
}

// gRPC may report the end of the reads before the cancellation.
TEST(ClientStream, CancellationIsNeverTakenForAGoodEnd) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  for (size_t i = 0; i < 200; ++i) {
    Recorder<v1::HandoffResponse> events;
    auto stream = fixture.Open(events.Sink());
    ASSERT_TRUE(stream->Send(Request("x")).ok());
    auto server_end = accepted.Get(i);
    ASSERT_EQ(server_end.events.Messages(1).size(), 1u);
    stream.reset();
    ASSERT_EQ(server_end.events.EndCode(), "CANCELLED") << i;
  }
}

TEST(ClientStream, TheServersErrorArrivesWithItsPushback) {
  HandoffFixture fixture([](std::shared_ptr<HandoffServerEnd> end, TimePoint) {
    end->Close(WithPushback(ResourceExhausted("queue: 64 requests, expected at most 64"),
                            std::chrono::milliseconds(1500)));
    return [](StreamEvent<v1::HandoffRequest>) {};
  });
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  const auto end = events.End();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MessageOf(*end), "queue: 64 requests, expected at most 64");
  EXPECT_EQ(PushbackOf(*end), std::chrono::milliseconds(1500));
}

TEST(ClientStream, TheDeadlineEndsBothSides) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  // A first stream makes the connection, so that the second one gets to the server in time.
  Recorder<v1::HandoffResponse> warm;
  auto warm_stream = fixture.Open(warm.Sink());
  accepted.Get(0);
  Recorder<v1::HandoffResponse> events;
  const TimePoint deadline = RealClock().Now() + std::chrono::seconds(2);
  auto stream = fixture.opener(fixture.endpoint(), deadline, events.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  auto server_end = accepted.Get(1);
  EXPECT_LT(std::abs(Seconds(server_end.deadline - deadline)), 2.0);
  EXPECT_EQ(events.EndCode(), "DEADLINE_EXCEEDED");
  EXPECT_GE(RealClock().Now(), deadline);
  EXPECT_EQ(server_end.events.EndCode(), "CANCELLED");
  EXPECT_FALSE(warm.ended());
}

TEST(ClientStream, ASenderThatOutrunsTheStreamOverflowsTheQueue) {
  HandoffFixture fixture(Echo(), {}, {.queued_messages = 4, .queued_bytes = 1 << 20});
  Recorder<v1::HandoffResponse> events;
  auto stream = fixture.Open(events.Sink());
  absl::Status last;
  for (int i = 0; i < 100'000 && last.ok(); ++i)
    last = stream->Send(Request(std::string(1000, 'x')));
  EXPECT_EQ(last.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(events.EndCode(), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(stream->Send(Request("late")).code(), absl::StatusCode::kUnavailable);
}

TEST(ClientStream, TwoHundredStreamsAtOnceFromManyThreads) {
  HandoffFixture fixture(Echo());
  constexpr int kStreams = 200, kMessages = 50, kThreads = 4;
  std::vector<Recorder<v1::HandoffResponse>> events(kStreams);
  std::vector<std::unique_ptr<HandoffClientEnd>> streams;
  for (auto& recorder : events) streams.push_back(fixture.Open(recorder.Sink()));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int m = 0; m < kMessages; ++m) {
        for (int s = t; s < kStreams; s += kThreads) {
          EXPECT_TRUE(streams[s]->Send(Request(std::to_string(s), m)).ok());
        }
      }
      for (int s = t; s < kStreams; s += kThreads) streams[s]->Close(absl::OkStatus());
    });
  }
  for (auto& thread : threads) thread.join();
  for (int s = 0; s < kStreams; ++s) {
    ASSERT_EQ(events[s].EndCode(), "OK") << s;
    const auto replies = events[s].Messages(kMessages);
    ASSERT_EQ(replies.size(), static_cast<size_t>(kMessages));
    for (int m = 0; m < kMessages; ++m) {
      EXPECT_EQ(replies[m].attempt(), static_cast<uint32_t>(m));
      EXPECT_EQ(replies[m].transfer_id(), std::to_string(s));
    }
  }
}

// Streams opened, used and dropped from several threads, at every stage of their lives.
TEST(ClientStream, ChurnLeavesNothingBehind) {
  HandoffFixture fixture(Echo());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        Recorder<v1::HandoffResponse> events;
        auto stream = fixture.Open(events.Sink());
        const int sends = (i + t) % 4;
        for (int m = 0; m < sends; ++m) (void)stream->Send(Request("x"));
        if (i % 3 == 0) stream->Close(absl::OkStatus());
        if (i % 3 == 1) stream->Close(Cancelled("enough"));
        if (i % 2 == 0 && i % 3 != 2) {
          EXPECT_TRUE(events.End());
        }
        EXPECT_EQ(events.late(), 0);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace baton::rpc
