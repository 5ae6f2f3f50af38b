#include "common/handoff/ucx/ucx_status.h"

#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton::ucx {
namespace {

TEST(UcxStatus, KeepsTheTextOfTheLibrary) {
  EXPECT_TRUE(FromUcs(UCS_OK, "x").ok());
  const absl::Status status = FromUcs(UCS_ERR_CONNECTION_RESET, "send");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(MessageOf(status), std::string("send: ") + ucs_status_string(UCS_ERR_CONNECTION_RESET));
}

TEST(UcxStatus, NoErrorBecomesOk) {
  for (int code = -100; code < 0; ++code) {
    EXPECT_FALSE(FromUcs(static_cast<ucs_status_t>(code), "x").ok()) << code;
  }
}

}  // namespace
}  // namespace baton::ucx
