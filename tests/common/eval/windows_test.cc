#include "common/eval/windows.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "common/base/status.h"

namespace baton {
namespace {

class TokenFile : public ::testing::Test {
 protected:
  std::string Write(const std::string& bytes) {
    const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(::testing::TempDir()) / (std::string(test.name()) + ".u16");
    std::ofstream(path_, std::ios::binary) << bytes;
    return path_;
  }
  ~TokenFile() override {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

 private:
  std::filesystem::path path_;
};

TEST_F(TokenFile, IsLittleEndian) {
  const auto tokens = ReadTokenFile(Write(std::string("\x01\x00\x02\x01\xff\xff", 6)));
  ASSERT_TRUE(tokens.ok()) << ToString(tokens.status());
  EXPECT_EQ(*tokens, (std::vector<int32_t>{1, 258, 65535}));
}

TEST_F(TokenFile, RefusesWhatIsNotOne) {
  EXPECT_EQ(ReadTokenFile(Write("abc")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTokenFile(Write("")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTokenFile("/nowhere/tokens.u16").status().code(), absl::StatusCode::kNotFound);
}

TEST(Windows, AreConsecutiveAndWhole) {
  std::vector<int32_t> tokens(21);
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto windows = CutWindows(tokens, 8, 0, 100);
  ASSERT_TRUE(windows.ok());
  ASSERT_EQ(windows->size(), 2u);
  EXPECT_EQ((*windows)[1][0], 8);
  EXPECT_EQ((*windows)[1].size(), 8u);
  EXPECT_EQ(CutWindows(tokens, 8, 1, 100)->size(), 1u);
  EXPECT_EQ(CutWindows(tokens, 8, 5, 100)->size(), 2u);
}

TEST(Windows, RefuseBadInputByName) {
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto message = [&](int window, int max, int vocabulary) {
    return ToString(CutWindows(tokens, window, max, vocabulary).status());
  };
  EXPECT_NE(message(3, 0, 100).find("window: 3"), std::string::npos);
  EXPECT_NE(message(16, 0, 100).find("tokens: 8"), std::string::npos);
  EXPECT_NE(message(4, -1, 100).find("max_windows: -1"), std::string::npos);
  EXPECT_NE(message(4, 0, 8).find("tokens[7]: 8"), std::string::npos);
  EXPECT_TRUE(CutWindows(tokens, 4, 1, 5).ok());  // the second window is not judged
}

}  // namespace
}  // namespace baton
