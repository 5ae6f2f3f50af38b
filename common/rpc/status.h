#pragma once

#include <grpcpp/support/status.h>

#include <map>
#include <string>

#include "absl/status/status.h"

namespace grpc {
class ServerContextBase;
class ClientContext;
}  // namespace grpc

namespace baton::rpc {

// The only place where our Status and gRPC's meet. Codes map one to one and messages are kept; an
// unknown gRPC code becomes UNKNOWN. The pushback of a status (common/base/pushback.h) travels as
// trailing metadata, other payloads do not travel.

// Upper bound of a message on the wire: longer ones are cut, since trailers share one frame limit.
inline constexpr size_t kMaxStatusMessageBytes = 4096;

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

// Server: adds the pushback of `status`, if any, to the trailing metadata. Before Finish.
void SendPushback(const absl::Status& status, grpc::ServerContextBase& context);

// Client, when the call is done: the status with the pushback that the server sent.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace baton::rpc
