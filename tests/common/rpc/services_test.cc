#include "common/rpc/services.h"

#include <grpcpp/create_channel.h>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/client_stream.h"
#include "common/rpc/server_stream.h"
#include "tests/common/rpc/harness.h"

namespace baton::rpc {
namespace {

// Every conversation reaches its own service: a path with a typo would end as UNIMPLEMENTED.
template <typename Out, typename In>
StreamAcceptor<Out, In> AnswerOnce() {
  return [](std::shared_ptr<EventStream<Out, In>> end, TimePoint) {
    return [end](StreamEvent<In> event) {
      if (std::holds_alternative<In>(event)) {
        (void)end->Send(Out());
        end->Close(absl::OkStatus());
      }
    };
  };
}

template <typename Out, typename In>
void ExpectAnswer(std::unique_ptr<grpc::Service> service,
                  StreamOpener<Out, In> (*opener)(ChannelPool&, StreamLimits)) {
  auto server = RpcServer::Create({}, {service.get()});
  ASSERT_TRUE(server.ok());
  ChannelPool channels;
  Recorder<In> events;
  auto stream =
      opener(channels, {})("127.0.0.1:" + std::to_string((*server)->port()), Soon(), events.Sink());
  EXPECT_TRUE(stream->Send(Out()).ok());
  EXPECT_EQ(events.Messages(1).size(), 1u);
  EXPECT_EQ(events.EndCode(), "OK");
}

TEST(Services, EachConversationReachesItsService) {
  ExpectAnswer(MakePrefillService(AnswerOnce<v1::PrefillResponse, v1::PrefillRequest>()),
               &PrefillOpener);
  ExpectAnswer(MakeDecodeService(AnswerOnce<v1::DecodeResponse, v1::DecodeRequest>()),
               &DecodeOpener);
  ExpectAnswer(MakeHandoffService(AnswerOnce<v1::HandoffResponse, v1::HandoffRequest>()),
               &HandoffOpener);
  ExpectAnswer(MakeRegistryService(AnswerOnce<v1::RegisterResponse, v1::RegisterRequest>()),
               &RegistryOpener);
}

class Generator final : public v1::InferenceService::CallbackService {
 public:
  explicit Generator(StreamAcceptor<v1::GenerateResponse, v1::GenerateRequest> acceptor)
      : acceptor_(std::move(acceptor)) {}
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override {
    return ServeReplies(context, *request, acceptor_);
  }

 private:
  const StreamAcceptor<v1::GenerateResponse, v1::GenerateRequest> acceptor_;
};

TEST(Services, AServerStreamGetsItsRequestAndStreamsReplies) {
  Generator generator(
      [](std::shared_ptr<EventStream<v1::GenerateResponse, v1::GenerateRequest>> end, TimePoint) {
        return [end](StreamEvent<v1::GenerateRequest> event) {
          const auto* request = std::get_if<v1::GenerateRequest>(&event);
          if (request == nullptr) return;
          for (int i = 0; i < 100; ++i) {
            v1::GenerateResponse reply;
            reply.mutable_chunk()->set_text(request->text() + std::to_string(i));
            (void)end->Send(std::move(reply));
          }
          end->Close(absl::OkStatus());
        };
      });
  auto server = RpcServer::Create({}, {&generator});
  ASSERT_TRUE(server.ok());
  const std::string endpoint = "127.0.0.1:" + std::to_string((*server)->port());
  v1::GenerateRequest request;
  request.set_text("chunk ");

  // Our own client.
  ChannelPool channels;
  Recorder<v1::GenerateResponse> events;
  auto stream = GenerateOpener(channels)(endpoint, Soon(), events.Sink());
  ASSERT_TRUE(stream->Send(request).ok());
  stream->Close(absl::OkStatus());
  EXPECT_EQ(events.EndCode(), "OK");
  const auto replies = events.Messages(100);
  ASSERT_EQ(replies.size(), 100u);
  EXPECT_EQ(replies[99].chunk().text(), "chunk 99");

  // A generated client.
  auto stub = v1::InferenceService::NewStub(MakeChannel(endpoint, {}));
  grpc::ClientContext context;
  context.set_deadline(ToSystemTime(Soon()));
  auto reader = stub->Generate(&context, request);
  int count = 0;
  for (v1::GenerateResponse reply; reader->Read(&reply); ++count) {
    EXPECT_EQ(reply.chunk().text(), "chunk " + std::to_string(count));
  }
  EXPECT_EQ(count, 100);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST(Services, AServerStreamSeesItsClientCancel) {
  Recorder<v1::GenerateRequest> server_events;
  std::shared_ptr<EventStream<v1::GenerateResponse, v1::GenerateRequest>> kept;
  std::mutex mutex;
  Generator generator([&](auto end, TimePoint) {
    std::lock_guard lock(mutex);
    kept = std::move(end);
    return server_events.Sink();
  });
  auto server = RpcServer::Create({}, {&generator});
  ASSERT_TRUE(server.ok());
  ChannelPool channels;
  Recorder<v1::GenerateResponse> events;
  auto stream = GenerateOpener(channels)("127.0.0.1:" + std::to_string((*server)->port()), Soon(),
                                         events.Sink());
  ASSERT_TRUE(stream->Send({}).ok());
  stream->Close(absl::OkStatus());
  ASSERT_EQ(server_events.Messages(1).size(), 1u);
  EXPECT_FALSE(server_events.ended());  // the end of the request is no event of its own
  stream.reset();
  EXPECT_EQ(server_events.EndCode(), "CANCELLED");
  EXPECT_FALSE(events.ended());
}

}  // namespace
}  // namespace baton::rpc
