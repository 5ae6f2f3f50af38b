#include "common/rpc/services.h"

#include <utility>

#include "baton/v1/decode.grpc.pb.h"
#include "baton/v1/handoff.grpc.pb.h"
#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/prefill.grpc.pb.h"
#include "baton/v1/registry.grpc.pb.h"
#include "common/rpc/client_stream.h"
#include "common/rpc/server_stream.h"

namespace baton::rpc {
namespace {

template <typename Generated, typename Out, typename In>
class StreamService : public Generated {
 public:
  StreamService(StreamAcceptor<Out, In> acceptor, StreamLimits limits)
      : acceptor_(std::move(acceptor)), limits_(limits) {}

 protected:
  grpc::ServerBidiReactor<In, Out>* Serve(grpc::CallbackServerContext* context) {
    return ServeStream(context, acceptor_, limits_);
  }

 private:
  const StreamAcceptor<Out, In> acceptor_;
  const StreamLimits limits_;
};

class PrefillServer final : public StreamService<v1::PrefillService::CallbackService,
                                                 v1::PrefillResponse, v1::PrefillRequest> {
 public:
  using StreamService::StreamService;
  grpc::ServerBidiReactor<v1::PrefillRequest, v1::PrefillResponse>* Prefill(
      grpc::CallbackServerContext* context) override {
    return Serve(context);
  }
};

class DecodeServer final : public StreamService<v1::DecodeService::CallbackService,
                                                v1::DecodeResponse, v1::DecodeRequest> {
 public:
  using StreamService::StreamService;
  grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse>* Decode(
      grpc::CallbackServerContext* context) override {
    return Serve(context);
  }
};

class HandoffServer final : public StreamService<v1::HandoffService::CallbackService,
                                                 v1::HandoffResponse, v1::HandoffRequest> {
 public:
  using StreamService::StreamService;
  grpc::ServerBidiReactor<v1::HandoffRequest, v1::HandoffResponse>* Handoff(
      grpc::CallbackServerContext* context) override {
    return Serve(context);
  }
};

class RegistryServer final : public StreamService<v1::RegistryService::CallbackService,
                                                  v1::RegisterResponse, v1::RegisterRequest> {
 public:
  using StreamService::StreamService;
  grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse>* Register(
      grpc::CallbackServerContext* context) override {
    return Serve(context);
  }
};

template <typename Service, typename Out, typename In>
StreamOpener<Out, In> MakeOpener(ChannelPool& channels, const char* method, StreamLimits limits) {
  std::string path = fmt::format("/{}/{}", Service::service_full_name(), method);
  return [&channels, path = std::move(path), limits](const std::string& endpoint,
                                                     TimePoint deadline, StreamSink<In> sink) {
    return ClientStream<Out, In>::Open(channels.Get(endpoint), path, deadline, std::move(sink),
                                       limits);
  };
}

}  // namespace

std::unique_ptr<grpc::Service> MakePrefillService(
    StreamAcceptor<v1::PrefillResponse, v1::PrefillRequest> acceptor, StreamLimits limits) {
  return std::make_unique<PrefillServer>(std::move(acceptor), limits);
}
std::unique_ptr<grpc::Service> MakeDecodeService(
    StreamAcceptor<v1::DecodeResponse, v1::DecodeRequest> acceptor, StreamLimits limits) {
  return std::make_unique<DecodeServer>(std::move(acceptor), limits);
}
std::unique_ptr<grpc::Service> MakeHandoffService(
    StreamAcceptor<v1::HandoffResponse, v1::HandoffRequest> acceptor, StreamLimits limits) {
  return std::make_unique<HandoffServer>(std::move(acceptor), limits);
}
std::unique_ptr<grpc::Service> MakeRegistryService(
    StreamAcceptor<v1::RegisterResponse, v1::RegisterRequest> acceptor, StreamLimits limits) {
  return std::make_unique<RegistryServer>(std::move(acceptor), limits);
}

StreamOpener<v1::PrefillRequest, v1::PrefillResponse> PrefillOpener(ChannelPool& channels,
                                                                    StreamLimits limits) {
  return MakeOpener<v1::PrefillService, v1::PrefillRequest, v1::PrefillResponse>(channels,
                                                                                 "Prefill", limits);
}
StreamOpener<v1::DecodeRequest, v1::DecodeResponse> DecodeOpener(ChannelPool& channels,
                                                                 StreamLimits limits) {
  return MakeOpener<v1::DecodeService, v1::DecodeRequest, v1::DecodeResponse>(channels, "Decode",
                                                                              limits);
}
StreamOpener<v1::HandoffRequest, v1::HandoffResponse> HandoffOpener(ChannelPool& channels,
                                                                    StreamLimits limits) {
  return MakeOpener<v1::HandoffService, v1::HandoffRequest, v1::HandoffResponse>(channels,
                                                                                 "Handoff", limits);
}
StreamOpener<v1::RegisterRequest, v1::RegisterResponse> RegistryOpener(ChannelPool& channels,
                                                                       StreamLimits limits) {
  return MakeOpener<v1::RegistryService, v1::RegisterRequest, v1::RegisterResponse>(
      channels, "Register", limits);
}
StreamOpener<v1::GenerateRequest, v1::GenerateResponse> GenerateOpener(ChannelPool& channels,
                                                                       StreamLimits limits) {
  return MakeOpener<v1::InferenceService, v1::GenerateRequest, v1::GenerateResponse>(
      channels, "Generate", limits);
}

}  // namespace baton::rpc
