#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/kv/block_allocator.h"
#include "common/kv/prefix_index.h"

namespace baton {

// The pages of one worker: its allocator and, when switched on, its prefix index, which gives way
// when pages are needed. Engine thread only.
class PagePool {
 public:
  struct Config {
    int page_count = 0;
    int page_tokens = 0;  // 16 to 128
    bool prefix_cache = true;
  };
  explicit PagePool(Config config)
      : config_(config), allocator_(config.page_count), index_(config.page_tokens, allocator_) {}

  // All `count` pages or nothing; evicts cached pages when the free ones do not suffice.
  std::optional<std::vector<PageRef>> TryTake(int count);
  // Cached pages of the beginning of `tokens`, at most `limit` tokens; none when the cache is off.
  std::vector<PageRef> Match(const PrefixScope& scope, std::span<const int32_t> tokens,
                             int64_t limit);
  // Makes the full pages of `tokens` findable; no effect when the cache is off.
  void Cache(const PrefixScope& scope, std::span<const int32_t> tokens, const PageTable& pages);
  // Exactly what TryTake can give. O(cached pages).
  int takeable() const { return allocator_.free_count() + index_.evictable(); }
  void DropCache() { index_.Clear(); }

  const Config& config() const { return config_; }
  int page_count() const { return config_.page_count; }
  // Free pages and cached ones that nobody uses. TryTake may still fail for that many where a
  // cached page is kept for the sake of a longer prefix that is in use.
  int available() const { return allocator_.free_count() + allocator_.idle_cached_count(); }
  const BlockAllocator& allocator() const { return allocator_; }
  const PrefixIndex& index() const { return index_; }

 private:
  const Config config_;
  BlockAllocator allocator_;
  PrefixIndex index_;  // dies before the allocator it refers to
};

}  // namespace baton
