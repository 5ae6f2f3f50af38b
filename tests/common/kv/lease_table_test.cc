#include "common/kv/lease_table.h"

#include <gtest/gtest.h>

#include <string>

namespace baton {
namespace {

using std::chrono::seconds;
constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(LeaseTableTest, ExpiresAtItsTimeAndNotBefore) {
  LeaseTable<std::string> leases({});
  leases.Grant("a", kStart);
  EXPECT_TRUE(leases.TakeExpired(kStart + seconds(30) - Duration(1)).empty());
  EXPECT_EQ(leases.TakeExpired(kStart + seconds(30)), std::vector<std::string>{"a"});
  EXPECT_FALSE(leases.Has("a"));
  EXPECT_TRUE(leases.TakeExpired(kStart + seconds(99)).empty());
}

TEST(LeaseTableTest, RenewalNeverShortens) {
  LeaseTable<std::string> leases({});
  leases.Grant("a", kStart);
  EXPECT_TRUE(leases.Renew("a", kStart + seconds(5)));
  EXPECT_EQ(leases.expiry("a"), kStart + seconds(30));
  EXPECT_TRUE(leases.Renew("a", kStart + seconds(15)));
  EXPECT_EQ(leases.expiry("a"), kStart + seconds(35));
}

TEST(LeaseTableTest, RenewingWhatIsGoneDoesNothing) {
  LeaseTable<std::string> leases({});
  EXPECT_FALSE(leases.Renew("a", kStart));
  leases.Grant("a", kStart);
  leases.Release("a");
  EXPECT_FALSE(leases.Renew("a", kStart));
  EXPECT_EQ(leases.size(), 0u);
  EXPECT_EQ(leases.expiry("a"), std::nullopt);
}

TEST(LeaseTableTest, ExpiresInAscendingOrder) {
  LeaseTable<std::string> leases({});
  for (const char* key : {"c", "a", "b"}) leases.Grant(key, kStart);
  leases.Renew("b", kStart + seconds(29));
  EXPECT_EQ(leases.TakeExpired(kStart + seconds(30)), (std::vector<std::string>{"a", "c"}));
  EXPECT_TRUE(leases.Has("b"));
}

}  // namespace
}  // namespace baton
