#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "common/rpc/deadline.h"
#include "common/rpc/outbox.h"
#include "common/rpc/server_reactor.h"
#include "common/stream/event_stream.h"

namespace baton::rpc {

template <typename Out, typename In>
class BidiReactor final : public ServerReactor<grpc::ServerBidiReactor<In, Out>, Out, In> {
 public:
  using ServerReactor<grpc::ServerBidiReactor<In, Out>, Out, In>::ServerReactor;

  void Run(StreamSink<In> sink) {
    this->Bind(std::move(sink));
    this->IfOpen([this] { this->StartRead(&incoming_); });
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return this->PeerHalfEnded();
    this->Deliver(std::exchange(incoming_, In()));
    this->IfOpen([this] { this->StartRead(&incoming_); });
  }

  In incoming_;  // owned by the read in flight
};

// A server-streaming call: the request is the first and only message.
template <typename Out, typename In>
class ReplyReactor final : public ServerReactor<grpc::ServerWriteReactor<Out>, Out, In> {
 public:
  using ServerReactor<grpc::ServerWriteReactor<Out>, Out, In>::ServerReactor;

  void Run(StreamSink<In> sink, const In& request) {
    this->Bind(std::move(sink));
    this->Deliver(In(request));
  }
};

// EventStream of the server's side.
template <typename Reactor, typename Out, typename In>
class ServerStream final : public EventStream<Out, In> {
 public:
  explicit ServerStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  ~ServerStream() override { reactor_->Abandon(); }
  absl::Status Send(Out message) override { return reactor_->Send(std::move(message)); }
  void Close(absl::Status status) override { reactor_->Close(std::move(status)); }

 private:
  const std::shared_ptr<Reactor> reactor_;
};

// What a generated CallbackService returns for a bidirectional method.
template <typename Out, typename In>
grpc::ServerBidiReactor<In, Out>* ServeStream(grpc::CallbackServerContext* context,
                                              const StreamAcceptor<Out, In>& acceptor,
                                              StreamLimits limits = {}) {
  using Reactor = BidiReactor<Out, In>;
  auto reactor = std::make_shared<Reactor>(context, limits);
  auto sink = acceptor(std::make_shared<ServerStream<Reactor, Out, In>>(reactor),
                       FromSystemTime(context->deadline()));
  reactor->Run(std::move(sink));
  return reactor.get();
}

// What a generated CallbackService returns for a server-streaming method.
template <typename Out, typename In>
grpc::ServerWriteReactor<Out>* ServeReplies(grpc::CallbackServerContext* context, const In& request,
                                            const StreamAcceptor<Out, In>& acceptor,
                                            StreamLimits limits = {}) {
  using Reactor = ReplyReactor<Out, In>;
  auto reactor = std::make_shared<Reactor>(context, limits);
  auto sink = acceptor(std::make_shared<ServerStream<Reactor, Out, In>>(reactor),
                       FromSystemTime(context->deadline()));
  reactor->Run(std::move(sink), request);
  return reactor.get();
}

}  // namespace baton::rpc
