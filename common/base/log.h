#pragma once

#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"

namespace baton {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// "debug", "info", "warning", "error" / "text", "json"; INVALID_ARGUMENT names the value otherwise.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);
absl::StatusOr<LogFormat> ParseLogFormat(std::string_view name);

// One key and value of an event: request, worker, attempt, …
struct LogField {
  LogField(std::string_view key, std::string_view value) : key(key), value(std::string(value)) {}
  LogField(std::string_view key, const std::string& value) : key(key), value(value) {}
  LogField(std::string_view key, const char* value) : key(key), value(std::string(value)) {}
  LogField(std::string_view key, double value) : key(key), value(value) {}
  template <typename T>
  requires std::is_integral_v<T> LogField(std::string_view key, T value)
      : key(key), value(static_cast<int64_t>(value)) {}

  std::string_view key;
  std::variant<std::string, double, int64_t> value;
};

// Writes one line (text, or one JSON object) per event to a file descriptor. Thread-safe; owned by
// main and lent by reference. Control characters in values are escaped in both formats.
class Logger {
 public:
  struct Config {
    LogFormat format = LogFormat::kText;
    LogLevel level = LogLevel::kInfo;
    int fd = 2;
    std::string component;  // "router", "prefill", …: the first field of each event
  };
  explicit Logger(Config config) : config_(std::move(config)) {}

  void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
  void Debug(std::string_view event, std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kDebug, event, fields);
  }
  void Info(std::string_view event, std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kInfo, event, fields);
  }
  void Warning(std::string_view event, std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kWarning, event, fields);
  }
  void Error(std::string_view event, std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kError, event, fields);
  }

 private:
  const Config config_;
  std::mutex mutex_;  // serializes writes
};

}  // namespace baton
