#include "common/worker/port_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace baton {
namespace {

TEST(PortFileTest, WritesAllLinesUnderItsFinalName) {
  const std::string path = testing::TempDir() + "/baton_port_file_test";
  ASSERT_TRUE(WritePortFile(path, {{"rpc", 8001}, {"kv", 9}}).ok());
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "rpc=8001\nkv=9\n");
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  std::filesystem::remove(path);
}

TEST(PortFileTest, NoPathNoFile) { EXPECT_TRUE(WritePortFile("", {{"rpc", 1}}).ok()); }

TEST(PortFileTest, NamesThePathThatFails) {
  const absl::Status status = WritePortFile("/nonexistent/folder/ports", {{"rpc", 1}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.ToString().find("/nonexistent/folder/ports"), std::string::npos);
}

}  // namespace
}  // namespace baton
