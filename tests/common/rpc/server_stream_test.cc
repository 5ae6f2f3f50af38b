#include "common/rpc/server_stream.h"

#include <grpcpp/client_context.h>

#include "baton/v1/handoff.grpc.pb.h"
#include "tests/common/rpc/harness.h"

namespace baton::rpc {
namespace {

// A client that opens a stream and reads nothing until told.
class IdleReader {
 public:
  explicit IdleReader(const HandoffFixture& fixture)
      : stub_(v1::HandoffService::NewStub(MakeChannel(fixture.endpoint(), {}))) {
    context_.set_deadline(ToSystemTime(Soon()));
    stream_ = stub_->Handoff(&context_);
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Drain(int& messages) {
    v1::HandoffResponse response;
    while (stream_->Read(&response)) ++messages;
    return stream_->Finish();
  }

 private:
  std::unique_ptr<v1::HandoffService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::HandoffRequest, v1::HandoffResponse>> stream_;
};

v1::HandoffResponse Response(size_t bytes) {
  v1::HandoffResponse response;
  response.set_transfer_id(std::string(bytes, 'r'));
  return response;
}

absl::Status SendUntilRefused(HandoffServerEnd& end) {
  absl::Status last;
  for (int i = 0; i < 100'000 && last.ok(); ++i) last = end.Send(Response(100'000));
  return last;
}

constexpr StreamLimits kSmall{.queued_messages = 8, .queued_bytes = 1 << 20};

TEST(ServerStream, ASlowReaderOverflowsAndTheStreamEnds) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor(), kSmall);
  IdleReader client(fixture);
  auto server_end = accepted.Get();
  EXPECT_EQ(SendUntilRefused(*server_end.end).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server_end.end->Send(Response(1)).code(), absl::StatusCode::kUnavailable);
  // The client never reads: the stream is reset after the linger, and only then is it over.
  EXPECT_EQ(server_end.events.EndCode(), "RESOURCE_EXHAUSTED");
}

TEST(ServerStream, AReaderThatWakesUpInTimeLearnsWhy) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor(), kSmall);
  IdleReader client(fixture);
  auto server_end = accepted.Get();
  EXPECT_EQ(SendUntilRefused(*server_end.end).code(), absl::StatusCode::kResourceExhausted);
  int messages = 0;
  const grpc::Status status = client.Drain(messages);
  // On a machine that stalls for the linger the reset comes first.
  EXPECT_TRUE(status.error_code() == grpc::RESOURCE_EXHAUSTED ||
              status.error_code() == grpc::CANCELLED)
      << status.error_code();
  EXPECT_EQ(server_end.events.EndCode(), "RESOURCE_EXHAUSTED");
}

TEST(ServerStream, CloseFlushesTheQueueFirst) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  auto server_end = accepted.Get();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(server_end.end->Send(Response(10'000)).ok());
  server_end.end->Close(DataLoss("slab 3: checksum"));
  server_end.end->Close(absl::OkStatus());
  EXPECT_EQ(server_end.end->Send(Response(1)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(*client.End(), DataLoss("slab 3: checksum"));
  EXPECT_EQ(client.message_count(), 100u);
  EXPECT_FALSE(server_end.events.ended());
}

TEST(ServerStream, DroppingTheEndCancels) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  accepted.Get();
  accepted.Drop();
  EXPECT_EQ(client.EndCode(), "CANCELLED");
}

TEST(ServerStream, TheAcceptorMayDropTheEndAtOnce) {
  HandoffFixture fixture([](std::shared_ptr<HandoffServerEnd>, TimePoint) {
    return [](StreamEvent<v1::HandoffRequest>) { ADD_FAILURE() << "an event after the end"; };
  });
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  (void)stream->Send(Request("x"));
  EXPECT_EQ(client.EndCode(), "CANCELLED");
}

TEST(ServerStream, TheAcceptorMaySendAtOnce) {
  HandoffFixture fixture([](std::shared_ptr<HandoffServerEnd> end, TimePoint) {
    EXPECT_TRUE(end->Send(Response(3)).ok());
    EXPECT_TRUE(end->Send(Response(4)).ok());
    end->Close(absl::OkStatus());
    return [](StreamEvent<v1::HandoffRequest>) {};
  });
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  EXPECT_EQ(client.EndCode(), "OK");
  EXPECT_EQ(client.message_count(), 2u);
}

TEST(ServerStream, AClientThatDisappearsIsCancelledWhileWeWrite) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  IdleReader client(fixture);
  auto server_end = accepted.Get();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(server_end.end->Send(Response(100'000)).ok());
  client.Cancel();
  EXPECT_EQ(server_end.events.EndCode(), "CANCELLED");
  int messages = 0;
  EXPECT_EQ(client.Drain(messages).error_code(), grpc::CANCELLED);
}

TEST(ServerStream, AMessageOverTheLimitEndsTheStream) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  ASSERT_TRUE(stream->Send(Request(std::string(17 << 20, 'x'))).ok());
  EXPECT_EQ(client.EndCode(), "RESOURCE_EXHAUSTED");
}

}  // namespace
}  // namespace baton::rpc
