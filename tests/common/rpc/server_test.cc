#include "common/rpc/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <future>

#include "tests/common/rpc/harness.h"

namespace baton::rpc {
namespace {

// grpc.health.v1.Health/Check by hand: both messages have one field, number 1 (the name of the
// service; the status, 1 = SERVING). Returns the status, or minus the code of the error.
int CheckHealth(const std::string& endpoint, std::string_view service) {
  std::string request;
  if (!service.empty()) {
    request = std::string("\x0a") + static_cast<char>(service.size()) + std::string(service);
  }
  grpc::Slice slice(request);
  grpc::ByteBuffer input(&slice, 1), output;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  std::promise<grpc::Status> done;
  grpc::GenericStub stub(MakeChannel(endpoint, {}));
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &input, &output,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) return -static_cast<int>(status.error_code());
  grpc::Slice answer;
  EXPECT_TRUE(output.TrySingleSlice(&answer).ok());
  EXPECT_EQ(answer.size(), 2u);
  return answer.begin()[1];
}

TEST(RpcServer, HealthFollowsSetHealth) {
  auto server = RpcServer::Create({}, {});
  ASSERT_TRUE(server.ok());
  const std::string endpoint = "127.0.0.1:" + std::to_string((*server)->port());
  constexpr int kServing = 1, kNotServing = 2;
  EXPECT_EQ(CheckHealth(endpoint, kWholeServer), kServing);
  EXPECT_EQ(CheckHealth(endpoint, kLiveness), kServing);
  EXPECT_EQ(CheckHealth(endpoint, kReadiness), kNotServing);
  EXPECT_EQ(CheckHealth(endpoint, "other"), -grpc::NOT_FOUND);
  (*server)->SetHealth(kReadiness, true);
  EXPECT_EQ(CheckHealth(endpoint, kReadiness), kServing);
  (*server)->SetHealth(kReadiness, false);
  EXPECT_EQ(CheckHealth(endpoint, kReadiness), kNotServing);
}

TEST(RpcServer, ATakenPortIsAnError) {
  auto service = MakeHandoffService(Echo());
  auto server = RpcServer::Create({}, {service.get()});
  ASSERT_TRUE(server.ok());
  const std::string taken = "127.0.0.1:" + std::to_string((*server)->port());
  const auto second = RpcServer::Create({.listen = taken}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(MessageOf(second.status()).find(taken), std::string_view::npos);
}

TEST(RpcServer, ShutdownCancelsOpenStreamsAndIsIdempotent) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  auto server_end = accepted.Get();
  ASSERT_EQ(server_end.events.Messages(1).size(), 1u);
  fixture.server->Shutdown(TimePoint::min());
  fixture.server->Shutdown(TimePoint::min());
  EXPECT_EQ(server_end.events.EndCode(), "CANCELLED");
  EXPECT_NE(client.EndCode(), "OK");
  EXPECT_EQ(server_end.end->Send({}).code(), absl::StatusCode::kUnavailable);
}

TEST(RpcServer, ShutdownWaitsForStreamsThatEnd) {
  Accepted accepted;
  HandoffFixture fixture(accepted.Acceptor());
  Recorder<v1::HandoffResponse> client;
  auto stream = fixture.Open(client.Sink());
  ASSERT_TRUE(stream->Send(Request("x")).ok());
  auto server_end = accepted.Get();
  std::thread shutdown([&] { fixture.server->Shutdown(Soon()); });
  v1::HandoffResponse last;
  last.set_transfer_id("last");
  EXPECT_TRUE(server_end.end->Send(last).ok());
  server_end.end->Close(absl::OkStatus());
  EXPECT_EQ(client.EndCode(), "OK");
  EXPECT_EQ(client.message_count(), 1u);
  shutdown.join();
}

}  // namespace
}  // namespace baton::rpc
