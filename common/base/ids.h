#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

// A value of type T that is never converted implicitly to or from another id or size.
template <typename Tag, typename T>
class Strong {
 public:
  Strong() = default;
  explicit Strong(T value) : value_(std::move(value)) {}
  const T& value() const { return value_; }
  friend auto operator<=>(const Strong&, const Strong&) = default;

  template <typename H>
  friend H AbslHashValue(H h, const Strong& s) {
    return H::combine(std::move(h), s.value_);
  }

 private:
  T value_{};
};

using RequestId = Strong<struct RequestIdTag, std::string>;  // chosen by the client or the router
using WorkerId = Strong<struct WorkerIdTag, std::string>;    // stable name of a worker
using PageId = Strong<struct PageIdTag, int32_t>;            // index of a page in one worker's pool

// Random per process start: tells a restarted worker from its former self.
using Incarnation = Strong<struct IncarnationTag, uint64_t>;

// 128 random bits drawn by the router per request.
struct TransferId {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const TransferId&, const TransferId&) = default;

  static TransferId Random(std::mt19937_64& rng);
  // 16 bytes, big-endian; INVALID_ARGUMENT when the size differs.
  static absl::StatusOr<TransferId> FromBytes(std::string_view bytes);
  std::string ToBytes() const;
  // 32 hexadecimal digits.
  std::string ToString() const;

  template <typename H>
  friend H AbslHashValue(H h, const TransferId& id) {
    return H::combine(std::move(h), id.high, id.low);
  }
};

// A generator seeded from the system's entropy source.
std::mt19937_64 MakeRandomEngine();

}  // namespace baton

template <typename Tag, typename T>
struct std::hash<baton::Strong<Tag, T>> {
  size_t operator()(const baton::Strong<Tag, T>& s) const { return std::hash<T>()(s.value()); }
};
template <>
struct std::hash<baton::TransferId> {
  size_t operator()(const baton::TransferId& id) const {
    return static_cast<size_t>(id.high ^ (id.low * 0x9E3779B97F4A7C15ull));
  }
};
