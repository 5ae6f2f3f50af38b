#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

// The system's Abseil has a string_view of its own; these two are the only crossing points.
inline absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view ToStd(absl::string_view s) { return {s.data(), s.size()}; }

inline absl::Status MakeStatus(absl::StatusCode code, std::string_view message) {
  return absl::Status(code, ToAbsl(message));
}
inline std::string_view MessageOf(const absl::Status& status) { return ToStd(status.message()); }

// "code: message", without the payloads.
std::string ToString(const absl::Status& status);

// The same code with `context: ` in front of the message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// Formatted errors: InvalidArgument("max_tokens: {}, expected 1 to {}", n, limit).
#define BATON_STATUS_FACTORY(Name, kCode)                                                         \
  template <typename... Args>                                                                     \
  absl::Status Name(fmt::format_string<Args...> format, Args&&... args) {                         \
    return MakeStatus(absl::StatusCode::kCode, fmt::format(format, std::forward<Args>(args)...)); \
  }
BATON_STATUS_FACTORY(Aborted, kAborted)
BATON_STATUS_FACTORY(AlreadyExists, kAlreadyExists)
BATON_STATUS_FACTORY(Cancelled, kCancelled)
BATON_STATUS_FACTORY(DataLoss, kDataLoss)
BATON_STATUS_FACTORY(DeadlineExceeded, kDeadlineExceeded)
BATON_STATUS_FACTORY(FailedPrecondition, kFailedPrecondition)
BATON_STATUS_FACTORY(Internal, kInternal)
BATON_STATUS_FACTORY(InvalidArgument, kInvalidArgument)
BATON_STATUS_FACTORY(NotFound, kNotFound)
BATON_STATUS_FACTORY(OutOfRange, kOutOfRange)
BATON_STATUS_FACTORY(ResourceExhausted, kResourceExhausted)
BATON_STATUS_FACTORY(Unavailable, kUnavailable)
BATON_STATUS_FACTORY(Unimplemented, kUnimplemented)
#undef BATON_STATUS_FACTORY

}  // namespace baton

#define BATON_RETURN_IF_ERROR(expression)                               \
  do {                                                                  \
    if (absl::Status baton_status = (expression); !baton_status.ok()) { \
      return baton_status;                                              \
    }                                                                   \
  } while (false)

#define BATON_CONCAT_INNER(a, b) a##b
#define BATON_CONCAT(a, b) BATON_CONCAT_INNER(a, b)

// BATON_ASSIGN_OR_RETURN(auto value, Function());
#define BATON_ASSIGN_OR_RETURN(target, expression) \
  BATON_ASSIGN_OR_RETURN_INNER(BATON_CONCAT(baton_statusor_, __LINE__), target, expression)
#define BATON_ASSIGN_OR_RETURN_INNER(statusor, target, expression) \
  auto statusor = (expression);                                    \
  if (!statusor.ok()) return statusor.status();                    \
  target = *std::move(statusor)
