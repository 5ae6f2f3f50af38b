#include "common/kv/page_pool.h"

namespace baton {

std::optional<std::vector<PageRef>> PagePool::TryTake(int count) {
  const int missing = count - allocator_.free_count();
  if (missing > 0 && !index_.TryEvict(missing)) return std::nullopt;
  return allocator_.TryTake(count);
}

std::vector<PageRef> PagePool::Match(const PrefixScope& scope, std::span<const int32_t> tokens,
                                     int64_t limit) {
  if (!config_.prefix_cache) return {};
  return index_.Match(scope, tokens, limit);
}

void PagePool::Cache(const PrefixScope& scope, std::span<const int32_t> tokens,
                     const PageTable& pages) {
  if (config_.prefix_cache) index_.Insert(scope, tokens, pages);
}

}  // namespace baton
