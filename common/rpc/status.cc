#include "common/rpc/status.h"

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include "common/base/pushback.h"
#include "common/base/status.h"

namespace baton::rpc {
namespace {

constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

// The two enums have equal values by design (both are the canonical codes).
static_assert(static_cast<int>(absl::StatusCode::kUnauthenticated) == grpc::UNAUTHENTICATED);
static_assert(static_cast<int>(absl::StatusCode::kCancelled) == grpc::CANCELLED);
constexpr int kLastCode = grpc::UNAUTHENTICATED;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(MessageOf(status).substr(0, kMaxStatusMessageBytes)));
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const int code = status.error_code();
  const bool known = code > 0 && code <= kLastCode;
  return MakeStatus(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                    status.error_message());
}

void SendPushback(const absl::Status& status, grpc::ServerContextBase& context) {
  if (const auto delay = PushbackOf(status)) {
    context.AddTrailingMetadata(kPushbackKey, std::to_string(delay->count()));
  }
}

absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context) {
  absl::Status result = FromGrpc(status);
  if (result.ok()) return result;
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto it = trailers.find(kPushbackKey); it != trailers.end()) {
    absl::Status candidate = result;
    candidate.SetPayload(kPushbackPayload,
                         absl::Cord(absl::string_view(it->second.data(), it->second.size())));
    // The peer's text is kept only if it reads as a delay.
    if (PushbackOf(candidate)) return candidate;
  }
  return result;
}

}  // namespace baton::rpc
