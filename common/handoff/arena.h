#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <span>

namespace baton {

class Arena;

// A piece of an arena; goes back with the object. Move-only. Must not outlive the arena.
class ArenaSpan {
 public:
  ArenaSpan() = default;  // holds nothing
  ArenaSpan(ArenaSpan&& other) noexcept;
  ArenaSpan& operator=(ArenaSpan&& other) noexcept;
  ~ArenaSpan() { Reset(); }

  void Reset();
  explicit operator bool() const { return arena_ != nullptr; }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  friend class Arena;
  ArenaSpan(Arena* arena, std::span<std::byte> bytes) : arena_(arena), bytes_(bytes) {}

  Arena* arena_ = nullptr;
  std::span<std::byte> bytes_;
};

// Divides memory that slabs are sent from or land in. First fit, so that the used part stays low;
// spans start on cache lines. Owns the bookkeeping, not the memory, which outlives it.
//
// Thread-safe: a span may be dropped by whichever thread held it last (a transfer in flight keeps
// its span until its completion ran: that is the quarantine).
class Arena {
 public:
  static constexpr size_t kAlignment = 64;

  explicit Arena(std::span<std::byte> memory);
  ~Arena();  // all spans are back
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Exactly `bytes` (>= 1) contiguous bytes, or nullopt when no gap is wide enough. Never blocks.
  std::optional<ArenaSpan> TryTake(size_t bytes);

  size_t capacity() const { return memory_.size(); }
  // Bytes in spans, with the rounding of each to kAlignment.
  size_t used() const;

 private:
  friend class ArenaSpan;
  void Give(std::span<std::byte> bytes);

  const std::span<std::byte> memory_;
  mutable std::mutex mutex_;
  std::map<size_t, size_t> gaps_;  // offset -> length, never adjacent; guarded by mutex_
  size_t used_ = 0;                // guarded by mutex_
};

}  // namespace baton
