#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/kv/block_allocator.h"
#include "common/kv/page_table.h"

namespace baton {

// What two requests must share before they may share pages.
struct PrefixScope {
  std::string producer;  // serialized KvProducer of whoever computed the KV
  std::string tenant;    // salt
  friend auto operator<=>(const PrefixScope&, const PrefixScope&) = default;
};

// Finds the cached pages of a prompt's beginning. A page's key is the preceding page's key, its
// token ids compared in full, and the scope; only full pages are indexed. The index holds one
// reference to each of its pages: a page that only the index holds can be evicted, least recently
// used first, children before parents.
//
// Threading: as BlockAllocator.
class PrefixIndex {
 public:
  PrefixIndex(int page_tokens, BlockAllocator& allocator)
      : page_tokens_(page_tokens), allocator_(allocator) {}
  ~PrefixIndex() { Clear(); }

  // The longest indexed run of full pages from the beginning of `tokens`, at most `limit` tokens.
  // Shared pages are never written.
  std::vector<PageRef> Match(const PrefixScope& scope, std::span<const int32_t> tokens,
                             int64_t limit);

  // Indexes the full pages of `tokens`, whose KV is complete in `pages`, all by the scope's
  // producer. Pages whose key is known already are left as they are.
  void Insert(const PrefixScope& scope, std::span<const int32_t> tokens, const PageTable& pages);

  // Frees `count` pages that nobody else holds, or none when there are fewer.
  bool TryEvict(int count);
  void Clear();

  int size() const { return static_cast<int>(nodes_.size()); }
  // Pages that TryEvict could free. O(size): for tests.
  int evictable() const;

 private:
  struct Node {
    uint64_t parent = 0;
    std::vector<int32_t> tokens;  // [page_tokens]
    PageRef page;
    uint64_t used = 0;  // key in by_use_
    int children = 0;
  };
  struct Key {
    uint64_t parent = 0;  // node or root; numbers are never used twice
    std::vector<int32_t> tokens;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };

  uint64_t FindChild(uint64_t parent, std::span<const int32_t> tokens) const;  // 0: none
  void Touch(uint64_t leaf);
  std::vector<uint64_t> Evictable(int limit) const;
  void Remove(uint64_t id);

  const int page_tokens_;
  BlockAllocator& allocator_;
  std::map<PrefixScope, uint64_t> roots_;
  std::unordered_map<Key, uint64_t, KeyHash> children_;
  std::unordered_map<uint64_t, Node> nodes_;
  std::map<uint64_t, uint64_t> by_use_;  // use number -> node; a parent's is above its children's
  uint64_t next_id_ = 1;
  uint64_t next_use_ = 1;
};

}  // namespace baton
