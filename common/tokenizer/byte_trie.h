#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace baton {

// A set of non-empty byte strings, each with a number, for walking byte by byte. Thread-safe once
// built.
class ByteTrie {
 public:
  using Node = int32_t;
  static constexpr Node kRoot = 0;

  ByteTrie() : values_(1) {}

  // A string that is already there keeps its number.
  void Insert(std::string_view bytes, int32_t value);

  // The node one byte further; nothing when no string goes on that way.
  std::optional<Node> Child(Node node, uint8_t byte) const;
  // The number of the string that ends at `node`.
  std::optional<int32_t> ValueAt(Node node) const { return values_[node]; }
  size_t size() const { return values_.size(); }  // nodes

 private:
  absl::flat_hash_map<uint64_t, Node> children_;  // key: node * 256 + byte
  std::vector<std::optional<int32_t>> values_;    // by node
};

}  // namespace baton
