// The least that a router could cost: a gRPC proxy with one upstream, callback API, one stream in,
// one stream out, messages passed on as they come. tests/bench/router measures against it.
//
//   grpc_forwarder UPSTREAM PORT_FILE     serves on a free port of loopback until SIGTERM
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <csignal>
#include <fstream>
#include <memory>

#include "baton/v1/inference.grpc.pb.h"

namespace baton {
namespace {

// One call: a read from upstream, then a write to the client, in turns.
class Relay final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  Relay(grpc::CallbackServerContext* context, v1::InferenceService::Stub& stub,
        const v1::GenerateRequest& request)
      : upstream_(*this), request_(request) {
    upstream_.context.set_deadline(context->deadline());
    stub.async()->Generate(&upstream_.context, &request_, &upstream_);
    // Reads are started by reactions of the other side: the hold keeps OnDone away until the last.
    upstream_.AddHold();
    upstream_.StartRead(&message_);
    upstream_.StartCall();
  }

 private:
  struct Upstream final : grpc::ClientReadReactor<v1::GenerateResponse> {
    explicit Upstream(Relay& relay) : relay(relay) {}
    void OnReadDone(bool ok) override {
      if (ok) {
        relay.StartWrite(&relay.message_);
      } else {
        RemoveHold();
      }
    }
    void OnDone(const grpc::Status& status) override { relay.Finish(status); }
    Relay& relay;
    grpc::ClientContext context;
  };

  void OnWriteDone(bool ok) override {
    if (!ok) upstream_.context.TryCancel();
    upstream_.StartRead(&message_);
  }
  void OnCancel() override { upstream_.context.TryCancel(); }
  void OnDone() override { delete this; }

  Upstream upstream_;
  const v1::GenerateRequest request_;
  v1::GenerateResponse message_;
};

class Forwarder final
    : public v1::InferenceService::WithCallbackMethod_Generate<v1::InferenceService::Service> {
 public:
  explicit Forwarder(std::shared_ptr<grpc::Channel> upstream)
      : stub_(v1::InferenceService::NewStub(std::move(upstream))) {}
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override {
    return new Relay(context, *stub_, *request);
  }

 private:
  const std::unique_ptr<v1::InferenceService::Stub> stub_;
};

int Run(const std::string& upstream, const std::string& port_file) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  Forwarder forwarder(grpc::CreateChannel(upstream, grpc::InsecureChannelCredentials()));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&forwarder);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::ofstream(port_file + ".new") << "rpc=" << port << "\n";
  std::rename((port_file + ".new").c_str(), port_file.c_str());
  int signal = 0;
  sigwait(&stop, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: grpc_forwarder UPSTREAM PORT_FILE\n");
    return 2;
  }
  return baton::Run(argv[1], argv[2]);
}
