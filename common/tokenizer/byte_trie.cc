#include "common/tokenizer/byte_trie.h"

namespace baton {
namespace {

uint64_t Key(ByteTrie::Node node, uint8_t byte) {
  return (static_cast<uint64_t>(node) << 8) | byte;
}

}  // namespace

void ByteTrie::Insert(std::string_view bytes, int32_t value) {
  Node node = kRoot;
  for (const char c : bytes) {
    const auto next = static_cast<Node>(values_.size());
    const auto [entry, added] = children_.try_emplace(Key(node, static_cast<uint8_t>(c)), next);
    if (added) values_.emplace_back();
    node = entry->second;
  }
  if (!values_[node]) values_[node] = value;
}

std::optional<ByteTrie::Node> ByteTrie::Child(Node node, uint8_t byte) const {
  const auto entry = children_.find(Key(node, byte));
  if (entry == children_.end()) return std::nullopt;
  return entry->second;
}

}  // namespace baton
