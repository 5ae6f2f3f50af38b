#include "common/base/status.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgument("n: {}, expected an even number", n);
  return n / 2;
}

absl::StatusOr<int> Quarter(int n) {
  BATON_ASSIGN_OR_RETURN(const int half, Half(n));
  BATON_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(StatusTest, MacrosPassValuesAndErrorsOn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(ToString(Quarter(6).status()), "INVALID_ARGUMENT: n: 3, expected an even number");
}

TEST(StatusTest, AnnotateKeepsTheCode) {
  EXPECT_EQ(ToString(Annotate(NotFound("no file"), "model")), "NOT_FOUND: model: no file");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "model").ok());
}

}  // namespace
}  // namespace baton
