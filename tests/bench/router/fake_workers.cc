#include "tests/bench/router/fake_workers.h"

#include <fmt/format.h>

#include <future>

#include "baton/v1/inference.grpc.pb.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/rpc/server_stream.h"

namespace baton {
namespace {

constexpr uint32_t kVocabSize = 4096;  // at most the tiny model's

int32_t TokenAt(uint32_t index) { return static_cast<int32_t>(300 + index); }

v1::FinishReason EndOf(uint32_t max_tokens) {
  return max_tokens == 1 ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_UNSPECIFIED;
}

void AnswerPrefill(EventStream<v1::PrefillResponse, v1::PrefillRequest>& stream,
                   const v1::PrefillStart& start) {
  v1::PrefillResponse response;
  response.mutable_started()->set_attempt(start.attempt());
  stream.Send(response).IgnoreError();
  v1::FirstToken& first = *response.mutable_first_token();
  first.set_attempt(start.attempt());
  first.set_token_id(TokenAt(0));
  first.set_finish_reason(EndOf(start.request().sampling().max_tokens()));
  stream.Send(response).IgnoreError();
  response.mutable_delivered()->set_attempt(start.attempt());
  stream.Send(response).IgnoreError();
  stream.Close(absl::OkStatus());
}

void AnswerDecode(EventStream<v1::DecodeResponse, v1::DecodeRequest>& stream,
                  const v1::DecodeStart& start, bool hold) {
  v1::DecodeResponse response;
  response.mutable_reserved()->set_attempt(start.attempt());
  stream.Send(response).IgnoreError();
  response.mutable_committed()->set_attempt(start.attempt());
  response.mutable_committed()->set_first_token(TokenAt(0));
  stream.Send(response).IgnoreError();
  if (hold) return;
  for (uint32_t i = 1; i < start.request().sampling().max_tokens(); ++i) {
    v1::DecodedToken& token = *response.mutable_token();
    token.set_attempt(start.attempt());
    token.set_index(i);
    token.set_token_id(TokenAt(i));
    stream.Send(response).IgnoreError();
  }
  response.mutable_finished()->set_attempt(start.attempt());
  response.mutable_finished()->set_finish_reason(v1::FINISH_REASON_LENGTH);
  stream.Send(response).IgnoreError();
  stream.Close(absl::OkStatus());
}

class Upstream final
    : public v1::InferenceService::WithCallbackMethod_Generate<v1::InferenceService::Service> {
 public:
  explicit Upstream(const std::atomic<bool>& hold) : hold_(hold) {}
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override {
    return rpc::ServeReplies<v1::GenerateResponse, v1::GenerateRequest>(
        context, *request,
        [this](std::shared_ptr<EventStream<v1::GenerateResponse, v1::GenerateRequest>> stream,
               TimePoint) -> StreamSink<v1::GenerateRequest> {
          return [this, stream](StreamEvent<v1::GenerateRequest> event) {
            if (auto* r = std::get_if<v1::GenerateRequest>(&event)) Answer(*stream, *r);
          };
        });
  }

 private:
  void Answer(EventStream<v1::GenerateResponse, v1::GenerateRequest>& stream,
              const v1::GenerateRequest& request) {
    const uint32_t tokens = hold_ ? 1 : request.max_tokens();
    for (uint32_t i = 0; i < tokens; ++i) {
      v1::GenerateResponse response;
      response.mutable_chunk()->set_first_index(i);
      response.mutable_chunk()->add_token_ids(TokenAt(i));
      stream.Send(response).IgnoreError();
    }
    if (hold_) return;
    v1::GenerateResponse response;
    response.mutable_complete()->set_finish_reason(v1::FINISH_REASON_LENGTH);
    response.mutable_complete()->mutable_usage()->set_completion_tokens(tokens);
    stream.Send(response).IgnoreError();
    stream.Close(absl::OkStatus());
  }

  const std::atomic<bool>& hold_;
};

v1::WorkerDescriptor Describe(v1::Role role, const std::string& endpoint) {
  v1::WorkerDescriptor d;
  d.mutable_identity()->set_worker_id(role == v1::ROLE_PREFILL ? "p0" : "d0");
  d.mutable_identity()->set_incarnation(1);
  d.set_role(role);
  d.set_model("bench");
  d.set_rpc_endpoint(endpoint);
  d.set_kv_endpoint(endpoint);
  d.set_max_context(1024);
  d.mutable_contract()->mutable_model()->set_architecture("Fake");
  d.mutable_contract()->mutable_model()->set_source_digest("s");
  d.mutable_contract()->mutable_model()->set_vocab_size(kVocabSize);
  d.mutable_contract()->add_wire_formats(v1::KV_FORMAT_FP16);
  return d;
}

}  // namespace

FakeWorkers::FakeWorkers() {
  services_.push_back(rpc::MakePrefillService([](auto stream, TimePoint) {
    return [stream](StreamEvent<v1::PrefillRequest> event) {
      auto* message = std::get_if<v1::PrefillRequest>(&event);
      if (message != nullptr && message->has_start()) AnswerPrefill(*stream, message->start());
    };
  }));
  services_.push_back(rpc::MakeDecodeService([this](auto stream, TimePoint) {
    return [this, stream](StreamEvent<v1::DecodeRequest> event) {
      auto* message = std::get_if<v1::DecodeRequest>(&event);
      if (message == nullptr) return;
      if (message->has_start()) AnswerDecode(*stream, message->start(), hold_);
      if (message->has_cancel()) stream->Close(absl::OkStatus());
    };
  }));
  services_.push_back(std::make_unique<Upstream>(hold_));
  std::vector<grpc::Service*> services;
  for (const auto& service : services_) services.push_back(service.get());
  auto server = rpc::RpcServer::Create({}, services);
  BATON_CHECK(server.ok());
  server_ = *std::move(server);
  endpoint_ = fmt::format("127.0.0.1:{}", server_->port());
}

FakeWorkers::~FakeWorkers() { server_->Shutdown(TimePoint::min()); }

void FakeWorkers::Register(const std::string& router) {
  for (v1::Role role : {v1::ROLE_PREFILL, v1::ROLE_DECODE}) {
    auto accepted = std::make_shared<std::promise<void>>();
    registered_.push_back(rpc::RegistryOpener(channels_)(
        router, TimePoint::max(), [accepted](StreamEvent<v1::RegisterResponse> event) {
          if (std::holds_alternative<v1::RegisterResponse>(event)) accepted->set_value();
        }));
    v1::RegisterRequest request;
    *request.mutable_hello() = Describe(role, endpoint_);
    registered_.back()->Send(request).IgnoreError();
    accepted->get_future().wait();
  }
  Report();
}

void FakeWorkers::Report() {
  v1::RegisterRequest request;
  request.mutable_load()->set_ready(true);
  for (auto& stream : registered_) stream->Send(request).IgnoreError();
}

}  // namespace baton
