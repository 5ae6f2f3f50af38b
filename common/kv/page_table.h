#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/kv/block_allocator.h"

namespace baton {

// Pages that hold `tokens` tokens.
constexpr int PagesFor(int64_t tokens, int page_tokens) {
  return static_cast<int>((tokens + page_tokens - 1) / page_tokens);
}

// The pages of one sequence in order: token t lies in page t / page_tokens. Owns one reference to
// each. Move-only; engine thread only (see BlockAllocator).
class PageTable {
 public:
  PageTable() = default;
  PageTable(PageTable&&) = default;
  PageTable& operator=(PageTable&&) = default;

  void Append(PageRef page);
  void Append(std::vector<PageRef> pages);
  // Gives back all pages from `count` on.
  void Truncate(int count);
  void Clear() { Truncate(0); }

  int size() const { return static_cast<int>(ids_.size()); }
  bool empty() const { return ids_.empty(); }
  // Page numbers; valid until the table changes.
  std::span<const int32_t> ids() const { return ids_; }
  const PageRef& page(int index) const { return pages_[index]; }

  // A second table with references of its own to the same pages: what a step, a copy or a transfer
  // in flight holds.
  PageTable Share() const;

 private:
  std::vector<PageRef> pages_;
  std::vector<int32_t> ids_;  // of pages_
};

}  // namespace baton
