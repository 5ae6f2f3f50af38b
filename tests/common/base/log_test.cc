#include "common/base/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

namespace baton {
namespace {

std::string Written(LogFormat format, std::string_view event, LogField field) {
  std::array<int, 2> pipe_fds{};
  EXPECT_EQ(pipe(pipe_fds.data()), 0);
  Logger logger({format, LogLevel::kInfo, pipe_fds[1], "router"});
  logger.Debug("below the level");
  logger.Info(event, {field});
  close(pipe_fds[1]);
  std::string text(4096, '\0');
  const ssize_t n = read(pipe_fds[0], text.data(), text.size());
  close(pipe_fds[0]);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

TEST(LogTest, TextIsOneLineWhateverTheValue) {
  const std::string line = Written(LogFormat::kText, "started", {"request", "a b\nc"});
  EXPECT_NE(line.find(" info router started request=\"a b\\nc\"\n"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(LogTest, JsonEscapesAndKeepsNumbers) {
  EXPECT_NE(Written(LogFormat::kJson, "started", {"request", "\"x\x01"})
                .find(R"("event":"started","request":"\"x\u0001"})"),
            std::string::npos);
  EXPECT_NE(Written(LogFormat::kJson, "started", {"attempt", 2}).find(R"("attempt":2})"),
            std::string::npos);
}

TEST(LogTest, UnknownNamesAreRefused) {
  EXPECT_EQ(ParseLogLevel("loud").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseLogFormat("xml").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*ParseLogLevel("warning"), LogLevel::kWarning);
}

}  // namespace
}  // namespace baton
