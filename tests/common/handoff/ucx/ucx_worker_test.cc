#include "common/handoff/ucx/ucx_worker.h"

#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton::ucx {
namespace {

TEST(UcxWorker, FindsOnlyWhatLiesInOneArena) {
  auto worker = UcxWorker::Create({.keepalive_interval = std::chrono::seconds(2), .settings = {}});
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<std::byte> memory(3 * 4096), other(4096);
  const std::span<std::byte> all(memory);
  ASSERT_TRUE((*worker)->Register(all.subspan(0, 4096)).ok());
  ASSERT_TRUE((*worker)->Register(all.subspan(4096, 4096)).ok());
  const std::byte* begin = memory.data();
  EXPECT_TRUE((*worker)->Find(begin, 4096).ok());
  EXPECT_TRUE((*worker)->Find(begin + 4095, 1).ok());
  EXPECT_TRUE((*worker)->Find(begin + 4096, 4096).ok());
  EXPECT_FALSE((*worker)->Find(begin, 4097).ok());  // spans two arenas
  EXPECT_FALSE((*worker)->Find(begin + 8192, 1).ok());
  EXPECT_FALSE((*worker)->Find(begin + 1, SIZE_MAX).ok());
  EXPECT_FALSE((*worker)->Find(other.data(), 1).ok());
  EXPECT_EQ((*worker)->Find(begin, 1)->type, UCS_MEMORY_TYPE_HOST);
}

TEST(UcxWorker, RefusesAnArenaTwiceAndAnEmptyOne) {
  auto worker = UcxWorker::Create({.keepalive_interval = std::chrono::seconds(2), .settings = {}});
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<std::byte> memory(4096);
  EXPECT_TRUE((*worker)->Register(memory).ok());
  EXPECT_EQ((*worker)->Register(memory).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ((*worker)->Register({}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(UcxWorker, AnOddSettingIsAnErrorWithItsName) {
  const auto worker = UcxWorker::Create({std::chrono::seconds(2), {{"RNDV_THRESH", "not a size"}}});
  ASSERT_FALSE(worker.ok());
  EXPECT_NE(MessageOf(worker.status()).find("RNDV_THRESH"), std::string_view::npos);
}

}  // namespace
}  // namespace baton::ucx
