#include "common/model/digest.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cstring>

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kMultiplier1 = 0x9E3779B185EBCA87;
constexpr uint64_t kMultiplier2 = 0xC2B2AE3D27D4EB4F;
constexpr size_t kLanes = 8;
constexpr size_t kBlock = kLanes * sizeof(uint64_t);

// The finalizer of splitmix64.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9;
  x ^= x >> 27;
  x *= 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Each lane is a bijection of its state for a given word and of the word for a given state, so a
// single changed word always changes its lane. Independent lanes keep the multiplier busy.
void Absorb(std::array<uint64_t, kLanes>& lanes, const std::byte* block) {
  for (size_t i = 0; i < kLanes; ++i) {
    uint64_t word;
    std::memcpy(&word, block + i * sizeof(word), sizeof(word));
    lanes[i] = std::rotl(lanes[i] + word * kMultiplier2, 31) * kMultiplier1;
  }
}

}  // namespace

std::string Digest::ToString() const { return fmt::format("{:016x}{:016x}", high, low); }

std::optional<Digest> Digest::Parse(std::string_view text) {
  constexpr size_t kDigits = 16;
  Digest digest;
  if (text.size() != 2 * kDigits) return std::nullopt;
  for (uint64_t* half : {&digest.high, &digest.low}) {
    const char* end = text.data() + kDigits;
    if (std::from_chars(text.data(), end, *half, 16).ptr != end) return std::nullopt;
    text.remove_prefix(kDigits);
  }
  return digest;
}

Digest DigestOf(std::span<const std::byte> bytes) {
  std::array<uint64_t, kLanes> lanes;
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = Mix(i + 1);
  size_t at = 0;
  for (; at + kBlock <= bytes.size(); at += kBlock) Absorb(lanes, bytes.data() + at);
  if (at < bytes.size()) {
    std::array<std::byte, kBlock> last = {};
    std::memcpy(last.data(), bytes.data() + at, bytes.size() - at);
    Absorb(lanes, last.data());
  }
  Digest digest{Mix(bytes.size()), Mix(bytes.size() ^ kMultiplier1)};
  for (const uint64_t lane : lanes) {
    digest.high = Mix(digest.high ^ lane) * kMultiplier2;
    digest.low = Mix(digest.low + std::rotl(lane, 17)) * kMultiplier1;
  }
  return digest;
}

DigestBuilder& DigestBuilder::Add(std::span<const std::byte> field) {
  Add(static_cast<uint64_t>(field.size()));
  return Add(DigestOf(field));
}

DigestBuilder& DigestBuilder::Add(std::string_view field) {
  return Add(std::as_bytes(std::span(field.data(), field.size())));
}

DigestBuilder& DigestBuilder::Add(const Digest& digest) { return Add(digest.high).Add(digest.low); }

DigestBuilder& DigestBuilder::Add(uint64_t value) {
  fields_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return *this;
}

Digest DigestBuilder::Finish() const {
  return DigestOf(std::as_bytes(std::span(fields_.data(), fields_.size())));
}

}  // namespace baton
