#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "baton/v1/decode.pb.h"
#include "baton/v1/handoff.pb.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/prefill.pb.h"
#include "baton/v1/registry.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/outbox.h"
#include "common/stream/event_stream.h"

namespace baton::rpc {

// The conversations of protocol.md over gRPC. A service hands every new stream to its acceptor; an
// opener starts streams over the channels of a pool, which must outlive it.

std::unique_ptr<grpc::Service> MakePrefillService(
    StreamAcceptor<v1::PrefillResponse, v1::PrefillRequest> acceptor, StreamLimits limits = {});
std::unique_ptr<grpc::Service> MakeDecodeService(
    StreamAcceptor<v1::DecodeResponse, v1::DecodeRequest> acceptor, StreamLimits limits = {});
std::unique_ptr<grpc::Service> MakeHandoffService(
    StreamAcceptor<v1::HandoffResponse, v1::HandoffRequest> acceptor, StreamLimits limits = {});
std::unique_ptr<grpc::Service> MakeRegistryService(
    StreamAcceptor<v1::RegisterResponse, v1::RegisterRequest> acceptor, StreamLimits limits = {});

StreamOpener<v1::PrefillRequest, v1::PrefillResponse> PrefillOpener(ChannelPool& channels,
                                                                    StreamLimits limits = {});
StreamOpener<v1::DecodeRequest, v1::DecodeResponse> DecodeOpener(ChannelPool& channels,
                                                                 StreamLimits limits = {});
StreamOpener<v1::HandoffRequest, v1::HandoffResponse> HandoffOpener(ChannelPool& channels,
                                                                    StreamLimits limits = {});
StreamOpener<v1::RegisterRequest, v1::RegisterResponse> RegistryOpener(ChannelPool& channels,
                                                                       StreamLimits limits = {});
// Send the one request, then Close(OK).
StreamOpener<v1::GenerateRequest, v1::GenerateResponse> GenerateOpener(ChannelPool& channels,
                                                                       StreamLimits limits = {});

}  // namespace baton::rpc
