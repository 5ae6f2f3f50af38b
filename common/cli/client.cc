#include "common/cli/client.h"

#include "baton/v1/inference.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/deadline.h"
#include "common/rpc/services.h"
#include "common/rpc/status.h"

namespace baton {

InferenceClient::InferenceClient(const std::string& endpoint, Clock& clock)
    : endpoint_(endpoint), clock_(clock) {}

absl::StatusOr<v1::GetModelInfoResponse> InferenceClient::GetModelInfo(Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(rpc::ToSystemTime(clock_.Now() + timeout));
  v1::GetModelInfoResponse response;
  const grpc::Status status = v1::InferenceService::NewStub(channels_.Get(endpoint_))
                                  ->GetModelInfo(&context, {}, &response);
  BATON_RETURN_IF_ERROR(rpc::FromGrpc(status));
  return response;
}

absl::StatusOr<v1::GetLoadResponse> InferenceClient::GetLoad(Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(rpc::ToSystemTime(clock_.Now() + timeout));
  v1::GetLoadResponse response;
  const grpc::Status status =
      v1::InferenceService::NewStub(channels_.Get(endpoint_))->GetLoad(&context, {}, &response);
  BATON_RETURN_IF_ERROR(rpc::FromGrpc(status));
  return response;
}

std::unique_ptr<InferenceClient::Stream> InferenceClient::Generate(
    const v1::GenerateRequest& request, Duration timeout, StreamSink<v1::GenerateResponse> sink) {
  auto stream = rpc::GenerateOpener(channels_)(endpoint_, clock_.Now() + timeout, std::move(sink));
  // A failure to send shows as the end of the stream.
  (void)stream->Send(request);
  stream->Close(absl::OkStatus());
  return stream;
}

}  // namespace baton
