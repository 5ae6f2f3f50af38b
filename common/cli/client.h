#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "baton/v1/inference.pb.h"
#include "common/rpc/channel.h"
#include "common/stream/event_stream.h"

namespace baton {

// A connection to a router's inference service. Thread-safe; outlives its streams.
class InferenceClient {
 public:
  using Stream = EventStream<v1::GenerateRequest, v1::GenerateResponse>;

  // `endpoint`: host:port. Connects on first use.
  InferenceClient(const std::string& endpoint, Clock& clock);

  absl::StatusOr<v1::GetModelInfoResponse> GetModelInfo(Duration timeout);

  absl::StatusOr<v1::GetLoadResponse> GetLoad(Duration timeout);

  // Starts one request; the sink runs on the library's threads and sees StreamClosed last. Dropping
  // the stream cancels the request.
  std::unique_ptr<Stream> Generate(const v1::GenerateRequest& request, Duration timeout,
                                   StreamSink<v1::GenerateResponse> sink);

 private:
  const std::string endpoint_;
  Clock& clock_;
  rpc::ChannelPool channels_;
};

}  // namespace baton
