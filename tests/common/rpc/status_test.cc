#include "common/rpc/status.h"

#include <gtest/gtest.h>

#include "common/base/pushback.h"
#include "common/base/status.h"

namespace baton::rpc {
namespace {

TEST(RpcStatus, EveryCodeSurvivesTheRoundTrip) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status =
        MakeStatus(static_cast<absl::StatusCode>(code), "field: 1, expected 2");
    const grpc::Status wire = ToGrpc(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(FromGrpc(wire), status) << code;
  }
}

TEST(RpcStatus, CodesOutsideTheListBecomeUnknown) {
  for (int code : {-1, 17, 31}) {
    const auto status = FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(code), "odd"));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << code;
    EXPECT_EQ(MessageOf(status), "odd");
  }
}

TEST(RpcStatus, LongMessagesAreCut) {
  const grpc::Status wire =
      ToGrpc(MakeStatus(absl::StatusCode::kInternal, std::string(100'000, 'x')));
  EXPECT_EQ(wire.error_message().size(), kMaxStatusMessageBytes);
}

TEST(Pushback, IsReadBackAndRefusesOddText) {
  using std::chrono::milliseconds;
  EXPECT_EQ(PushbackOf(WithPushback(ResourceExhausted("full"), milliseconds(250))),
            milliseconds(250));
  EXPECT_FALSE(PushbackOf(ResourceExhausted("full")));
  EXPECT_FALSE(PushbackOf(WithPushback(absl::OkStatus(), milliseconds(1))));
  for (const char* text : {"", "-1", "1x", "99999999999999999999", "86400001"}) {
    absl::Status status = ResourceExhausted("full");
    status.SetPayload(kPushbackPayload, absl::Cord(text));
    EXPECT_FALSE(PushbackOf(status)) << text;
  }
}

}  // namespace
}  // namespace baton::rpc
