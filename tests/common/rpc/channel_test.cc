#include "common/rpc/channel.h"

#include <future>
#include <thread>

#include "tests/common/rpc/harness.h"

namespace baton::rpc {
namespace {

TEST(ChannelPool, OneChannelPerEndpointUntilForgotten) {
  ChannelPool pool;
  const auto a = pool.Get("127.0.0.1:1");
  EXPECT_EQ(pool.Get("127.0.0.1:1"), a);
  EXPECT_NE(pool.Get("127.0.0.1:2"), a);
  pool.Forget("127.0.0.1:1");
  EXPECT_NE(pool.Get("127.0.0.1:1"), a);
}

TEST(ChannelPool, WaitsForTheLastLease) {
  auto pool = std::make_unique<ChannelPool>();
  ChannelLease kept = pool->Get("127.0.0.1:1");
  ChannelLease forgotten = pool->Get("127.0.0.1:2");
  pool->Forget("127.0.0.1:2");
  EXPECT_EQ(pool->Get("127.0.0.1:1"), kept);  // streams share a lease
  std::promise<void> gone;
  std::thread owner([&] {
    pool.reset();
    gone.set_value();
  });
  kept.reset();
  auto when_gone = gone.get_future();
  EXPECT_EQ(when_gone.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  forgotten.reset();
  owner.join();
}

// Streams end on gRPC's threads, after their handles: the channel must not die there with them.
TEST(ChannelPool, DiesAfterStreamsThatWereJustDropped) {
  for (int i = 0; i < 50; ++i) {
    ChannelPool pool;
    Recorder<v1::HandoffResponse> events;
    (void)HandoffOpener(pool)("127.0.0.1:1", Soon(), events.Sink());
  }
}

TEST(ChannelPool, AnUnreachableOrMalformedEndpointEndsTheStream) {
  ChannelPool pool;
  for (const char* endpoint : {"127.0.0.1:1", "not an endpoint", "host:notaport", ""}) {
    Recorder<v1::HandoffResponse> events;
    auto stream = HandoffOpener(pool)(endpoint, Soon(), events.Sink());
    ASSERT_NE(stream, nullptr);
    (void)stream->Send(Request("x"));
    // gRPC has another code for an endpoint without any name.
    EXPECT_EQ(events.EndCode(), *endpoint ? "UNAVAILABLE" : "UNKNOWN") << endpoint;
  }
}

TEST(ChannelPool, TheSameChannelReachesARestartedServer) {
  ChannelPool pool;
  auto service = MakeHandoffService(Echo());
  auto first = RpcServer::Create({}, {service.get()});
  ASSERT_TRUE(first.ok());
  const std::string endpoint = "127.0.0.1:" + std::to_string((*first)->port());
  const auto opener = HandoffOpener(pool);
  {
    Recorder<v1::HandoffResponse> events;
    auto stream = opener(endpoint, Soon(), events.Sink());
    ASSERT_TRUE(stream->Send(Request("x")).ok());
    ASSERT_EQ(events.Messages(1).size(), 1u);
    first->reset();
    EXPECT_EQ(events.EndCode(), "UNAVAILABLE");
  }
  auto again = MakeHandoffService(Echo());
  auto second = RpcServer::Create({.listen = endpoint}, {again.get()});
  ASSERT_TRUE(second.ok()) << second.status();
  // The channel may be in its back-off: calls fail until it has connected again.
  bool reached = false;
  for (const TimePoint limit = Soon(); !reached && RealClock().Now() < limit;) {
    Recorder<v1::HandoffResponse> events;
    auto stream = opener(endpoint, Soon(), events.Sink());
    (void)stream->Send(Request("y"));
    stream->Close(absl::OkStatus());
    const auto end = events.End();
    reached = end && end->ok() && events.message_count() == 1;
  }
  EXPECT_TRUE(reached);
}

}  // namespace
}  // namespace baton::rpc
