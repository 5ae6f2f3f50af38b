#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "common/handoff/bulk_transport.h"

namespace baton::ucx {

// Bytes that depend on the seed and on their place, so that a shifted or foreign byte shows.
inline std::byte PatternByte(uint64_t seed, size_t i) {
  uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15ull + i * 0xBF58476D1CE4E5B9ull;
  x ^= x >> 31;
  return static_cast<std::byte>(x * 0x94D049BB133111EBull >> 56);
}
inline void Fill(uint64_t seed, std::span<std::byte> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = PatternByte(seed, i);
}
// Index of the first wrong byte, or the size.
inline size_t FirstWrong(uint64_t seed, std::span<const std::byte> bytes) {
  size_t i = 0;
  while (i < bytes.size() && bytes[i] == PatternByte(seed, i)) ++i;
  return i;
}

// A slab header that carries the seed of its payload.
inline SlabHeaderBytes SeedHeader(uint64_t seed) {
  SlabHeaderBytes header;
  Fill(seed, header);
  std::memcpy(header.data(), &seed, sizeof seed);
  return header;
}
inline uint64_t SeedOf(const SlabHeaderBytes& header) {
  uint64_t seed;
  std::memcpy(&seed, header.data(), sizeof seed);
  return seed;
}

}  // namespace baton::ucx
