#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "common/base/mailbox.h"
#include "router/router.h"

namespace baton {

// The inference conversation over gRPC: Generate goes to the router's acceptor, the unary calls run
// on the router's thread. A request whose bytes are not a GenerateRequest (a text field that is not
// UTF-8 is the usual reason) is answered with INVALID_ARGUMENT.
//
// Router and mailbox outlive the service. A unary call whose turn never comes, because the mailbox
// stopped, ends with UNAVAILABLE.
std::unique_ptr<grpc::Service> MakeInferenceService(Router& router, Mailbox& mailbox);

}  // namespace baton
