#include "common/handoff/arena.h"

#include <iterator>
#include <utility>

#include "common/base/check.h"

namespace baton {
namespace {

size_t Rounded(size_t bytes) {
  return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment;
}

}  // namespace

ArenaSpan::ArenaSpan(ArenaSpan&& other) noexcept
    : arena_(std::exchange(other.arena_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}

ArenaSpan& ArenaSpan::operator=(ArenaSpan&& other) noexcept {
  if (this != &other) {
    Reset();
    arena_ = std::exchange(other.arena_, nullptr);
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void ArenaSpan::Reset() {
  if (Arena* arena = std::exchange(arena_, nullptr)) arena->Give(std::exchange(bytes_, {}));
}

Arena::Arena(std::span<std::byte> memory)
    : memory_(memory.first(memory.size() / kAlignment * kAlignment)) {
  if (!memory_.empty()) gaps_.emplace(0, memory_.size());
}

Arena::~Arena() { BATON_CHECK(used() == 0); }

std::optional<ArenaSpan> Arena::TryTake(size_t bytes) {
  BATON_CHECK(bytes >= 1);
  std::lock_guard lock(mutex_);
  if (bytes > memory_.size()) return std::nullopt;
  const size_t length = Rounded(bytes);
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    const auto [offset, gap_length] = *gap;
    if (gap_length < length) continue;
    gaps_.erase(gap);
    if (gap_length > length) gaps_.emplace(offset + length, gap_length - length);
    used_ += length;
    return ArenaSpan(this, memory_.subspan(offset, bytes));
  }
  return std::nullopt;
}

size_t Arena::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

void Arena::Give(std::span<std::byte> bytes) {
  std::lock_guard lock(mutex_);
  size_t offset = static_cast<size_t>(bytes.data() - memory_.data());
  size_t length = Rounded(bytes.size());
  BATON_CHECK(used_ >= length);
  used_ -= length;
  auto next = gaps_.upper_bound(offset);
  if (next != gaps_.end() && offset + length == next->first) {
    length += next->second;
    next = gaps_.erase(next);
  }
  if (next != gaps_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += length;
      return;
    }
  }
  gaps_.emplace(offset, length);
}

}  // namespace baton
