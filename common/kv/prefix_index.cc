#include "common/kv/prefix_index.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"

namespace baton {

size_t PrefixIndex::KeyHash::operator()(const Key& key) const {
  uint64_t hash = key.parent * 0x9E3779B97F4A7C15u;
  for (int32_t token : key.tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0xBF58476D1CE4E5B9u;
    hash ^= hash >> 29;
  }
  return static_cast<size_t>(hash);
}

std::vector<PageRef> PrefixIndex::Match(const PrefixScope& scope, std::span<const int32_t> tokens,
                                        int64_t limit) {
  std::vector<PageRef> pages;
  const auto root = roots_.find(scope);
  if (root == roots_.end()) return pages;
  const int64_t end = std::min<int64_t>(limit, tokens.size());
  uint64_t node = root->second;
  for (int64_t first = 0; first + page_tokens_ <= end; first += page_tokens_) {
    const uint64_t child = FindChild(node, tokens.subspan(first, page_tokens_));
    if (child == 0) break;
    pages.push_back(nodes_.at(child).page.Share());
    node = child;
  }
  Touch(node);
  return pages;
}

void PrefixIndex::Insert(const PrefixScope& scope, std::span<const int32_t> tokens,
                         const PageTable& pages) {
  const int full_pages = static_cast<int>(tokens.size()) / page_tokens_;
  if (full_pages == 0) return;
  BATON_CHECK(pages.size() >= full_pages);
  auto [root, is_new] = roots_.try_emplace(scope, next_id_);
  if (is_new) ++next_id_;
  uint64_t parent = root->second;
  for (int i = 0; i < full_pages; ++i) {
    const auto page_tokens = tokens.subspan(static_cast<size_t>(i) * page_tokens_, page_tokens_);
    uint64_t child = FindChild(parent, page_tokens);
    if (child == 0) {
      child = next_id_++;
      std::vector<int32_t> key(page_tokens.begin(), page_tokens.end());
      children_.emplace(Key{parent, key}, child);
      nodes_.emplace(child, Node{parent, std::move(key), pages.page(i).Share(), next_use_, 0});
      by_use_.emplace(next_use_++, child);
      allocator_.SetCached(pages.page(i).id(), true);
      if (auto node = nodes_.find(parent); node != nodes_.end()) ++node->second.children;
    }
    parent = child;
  }
  Touch(parent);
}

bool PrefixIndex::TryEvict(int count) {
  const std::vector<uint64_t> candidates = Evictable(count);
  if (static_cast<int>(candidates.size()) < count) return false;
  for (uint64_t id : candidates) Remove(id);
  return true;
}

void PrefixIndex::Clear() {
  for (const auto& [id, node] : nodes_) allocator_.SetCached(node.page.id(), false);
  children_.clear();
  nodes_.clear();
  by_use_.clear();
  roots_.clear();
}

int PrefixIndex::evictable() const {
  return static_cast<int>(Evictable(std::numeric_limits<int>::max()).size());
}

uint64_t PrefixIndex::FindChild(uint64_t parent, std::span<const int32_t> tokens) const {
  const auto found = children_.find(Key{parent, {tokens.begin(), tokens.end()}});
  return found == children_.end() ? 0 : found->second;
}

void PrefixIndex::Touch(uint64_t leaf) {
  for (auto node = nodes_.find(leaf); node != nodes_.end();
       node = nodes_.find(node->second.parent)) {
    by_use_.erase(node->second.used);
    node->second.used = next_use_++;
    by_use_.emplace(node->second.used, node->first);
  }
}

std::vector<uint64_t> PrefixIndex::Evictable(int limit) const {
  std::vector<uint64_t> found;
  std::unordered_map<uint64_t, int> evicted_children;
  // Ascending use: all children of a node come before it.
  for (const auto& [use, id] : by_use_) {
    if (static_cast<int>(found.size()) >= limit) break;
    const Node& node = nodes_.at(id);
    const auto evicted = evicted_children.find(id);
    const int children = node.children - (evicted == evicted_children.end() ? 0 : evicted->second);
    if (children > 0 || allocator_.references(node.page.id()) > 1) continue;
    found.push_back(id);
    ++evicted_children[node.parent];
  }
  return found;
}

void PrefixIndex::Remove(uint64_t id) {
  const auto node = nodes_.find(id);
  BATON_CHECK(node != nodes_.end() && node->second.children == 0);
  if (auto parent = nodes_.find(node->second.parent); parent != nodes_.end()) {
    --parent->second.children;
  }
  children_.erase(Key{node->second.parent, std::move(node->second.tokens)});
  by_use_.erase(node->second.used);
  allocator_.SetCached(node->second.page.id(), false);
  nodes_.erase(node);
}

}  // namespace baton
