#include "common/base/log.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <iterator>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warning", "error"};

void AppendQuoted(std::string_view text, std::string& out) {
  out.push_back('"');
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

bool IsPlain(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '\\' || c == '=' || c == 0x7f) {
      return false;
    }
  }
  return true;
}

std::string Timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, millis);
}

void AppendValue(const LogField& field, LogFormat format, std::string& out) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    if (format == LogFormat::kText && IsPlain(*text)) {
      out += *text;
    } else {
      AppendQuoted(*text, out);
    }
  } else if (const auto* number = std::get_if<double>(&field.value)) {
    // JSON has no NaN or infinity.
    out += std::isfinite(*number) ? fmt::format("{:.6g}", *number) : "null";
  } else {
    out += fmt::format("{}", std::get<int64_t>(field.value));
  }
}

}  // namespace

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<LogLevel>(i);
  }
  return InvalidArgument("log level: '{}', expected debug, info, warning or error", name);
}

absl::StatusOr<LogFormat> ParseLogFormat(std::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return InvalidArgument("log format: '{}', expected text or json", name);
}

void Logger::Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level < config_.level) return;
  const std::string_view level_name = kLevelNames[static_cast<size_t>(level)];
  std::string line;
  if (config_.format == LogFormat::kText) {
    line = fmt::format("{} {} {} {}", Timestamp(), level_name, config_.component, event);
    for (const LogField& field : fields) {
      line += fmt::format(" {}=", field.key);
      AppendValue(field, config_.format, line);
    }
  } else {
    line = fmt::format(R"({{"time":"{}","level":"{}","component":)", Timestamp(), level_name);
    AppendQuoted(config_.component, line);
    line += R"(,"event":)";
    AppendQuoted(event, line);
    for (const LogField& field : fields) {
      line.push_back(',');
      AppendQuoted(field.key, line);
      line.push_back(':');
      AppendValue(field, config_.format, line);
    }
    line.push_back('}');
  }
  line.push_back('\n');
  std::lock_guard lock(mutex_);
  for (size_t written = 0; written < line.size();) {
    const ssize_t n = write(config_.fd, line.data() + written, line.size() - written);
    if (n <= 0) return;
    written += static_cast<size_t>(n);
  }
}

}  // namespace baton
