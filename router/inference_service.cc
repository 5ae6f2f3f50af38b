#include "router/inference_service.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <utility>

#include "baton/v1/inference.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/server_stream.h"
#include "common/rpc/status.h"

namespace baton {

// A request that may have failed to parse: gRPC itself would answer UNIMPLEMENTED without a reason.
struct ReceivedGenerate {
  v1::GenerateRequest request;
  bool well_formed = false;
};

}  // namespace baton

template <>
class grpc::SerializationTraits<baton::ReceivedGenerate> {
 public:
  static grpc::Status Deserialize(grpc::ByteBuffer* buffer, baton::ReceivedGenerate* received) {
    received->well_formed = grpc::SerializationTraits<baton::v1::GenerateRequest>::Deserialize(
                                buffer, &received->request)
                                .ok();
    return grpc::Status::OK;
  }
};

namespace baton {
namespace {

// One unary call on its way to the router's thread and back.
class Reply {
 public:
  explicit Reply(grpc::ServerUnaryReactor* reactor) : reactor_(reactor) {}
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply() { Finish(Unavailable("the router is shutting down")); }

  void Finish(const absl::Status& status) {
    if (auto* reactor = std::exchange(reactor_, nullptr)) reactor->Finish(rpc::ToGrpc(status));
  }

 private:
  grpc::ServerUnaryReactor* reactor_;
};

class Refusal final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit Refusal(const absl::Status& status) { Finish(rpc::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

using UnaryBase = v1::InferenceService::WithCallbackMethod_Abort<
    v1::InferenceService::WithCallbackMethod_GetModelInfo<
        v1::InferenceService::WithCallbackMethod_GetLoad<v1::InferenceService::Service>>>;

class InferenceServer final : public UnaryBase {
 public:
  InferenceServer(Router& router, Mailbox& mailbox)
      : router_(router), mailbox_(mailbox), acceptor_(router.GenerateAcceptor()) {
    // As the generated code does for its own request type; Generate is the first method.
    MarkMethodCallback(
        0,
        new grpc::internal::CallbackServerStreamingHandler<ReceivedGenerate, v1::GenerateResponse>(
            [this](grpc::CallbackServerContext* context, const ReceivedGenerate* received) {
              return Serve(context, *received);
            }));
  }

  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const v1::AbortRequest* request, v1::AbortResponse*) override {
    return Run(context, [this, id = request->request_id()] { return router_.Abort(id); });
  }

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* context,
                                         const v1::GetModelInfoRequest*,
                                         v1::GetModelInfoResponse* response) override {
    return Run(context, [this, response]() -> absl::Status {
      BATON_ASSIGN_OR_RETURN(const ModelInfo model, router_.Model());
      response->set_model(model.name);
      response->set_architecture(model.architecture);
      response->set_vocab_size(model.vocab_size);
      response->set_max_context(model.max_context);
      response->mutable_eos_token_ids()->Add(model.eos_token_ids.begin(),
                                             model.eos_token_ids.end());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const v1::GetLoadRequest*,
                                    v1::GetLoadResponse* response) override {
    return Run(context, [this, response] {
      *response = router_.Load();
      return absl::OkStatus();
    });
  }

 private:
  grpc::ServerWriteReactor<v1::GenerateResponse>* Serve(grpc::CallbackServerContext* context,
                                                        const ReceivedGenerate& received) {
    if (!received.well_formed) {
      return new Refusal(
          InvalidArgument("request: malformed, or a text field is not UTF-8; expected a "
                          "GenerateRequest"));
    }
    return rpc::ServeReplies(context, received.request, acceptor_);
  }

  // Runs `work` on the router's thread and answers with its status.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                std::function<absl::Status()> work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    mailbox_.Post([reply = std::make_shared<Reply>(reactor), work = std::move(work)] {
      reply->Finish(work());
    });
    return reactor;
  }

  Router& router_;
  Mailbox& mailbox_;
  const StreamAcceptor<v1::GenerateResponse, v1::GenerateRequest> acceptor_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(Router& router, Mailbox& mailbox) {
  return std::make_unique<InferenceServer>(router, mailbox);
}

}  // namespace baton
