#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace baton {

class BlockAllocator;

// One reference to one page. Move-only: the page returns to its allocator with the last reference.
// Must not outlive the allocator.
class PageRef {
 public:
  PageRef() = default;  // holds nothing
  PageRef(PageRef&& other) noexcept
      : allocator_(std::exchange(other.allocator_, nullptr)), id_(other.id_) {}
  PageRef& operator=(PageRef&& other) noexcept;
  ~PageRef() { Reset(); }

  // Gives the reference back.
  void Reset();
  // Another reference to the same page.
  PageRef Share() const;

  explicit operator bool() const { return allocator_ != nullptr; }
  PageId id() const { return PageId(id_); }

 private:
  friend class BlockAllocator;
  PageRef(BlockAllocator* allocator, int32_t id) : allocator_(allocator), id_(id) {}

  BlockAllocator* allocator_ = nullptr;
  int32_t id_ = -1;
};

// Hands out the page numbers [0, page_count) of one pool; the memory belongs to the ModelRunner.
//
// Threading: not thread-safe. The allocator and every PageRef belong to the engine thread; work on
// a lane gets plain page numbers while the engine keeps the references.
class BlockAllocator {
 public:
  explicit BlockAllocator(int page_count);
  ~BlockAllocator();  // all references are gone
  BlockAllocator(const BlockAllocator&) = delete;
  BlockAllocator& operator=(const BlockAllocator&) = delete;

  // All `count` pages or nothing. Never blocks.
  std::optional<std::vector<PageRef>> TryTake(int count);

  int page_count() const { return static_cast<int>(references_.size()); }
  int free_count() const { return static_cast<int>(free_.size()); }
  int used_count() const { return page_count() - free_count(); }
  // Pages whose only reference is a cache's.
  int idle_cached_count() const { return idle_cached_; }
  // A cache calls this for the one reference of its own, right after it took it and right before
  // it gives it back.
  void SetCached(PageId page, bool cached);
  // 0 for a free page.
  int references(PageId page) const { return references_[page.value()]; }
  // Whether every page is either free exactly once or referenced. For tests; O(pages).
  bool Conserved() const;

 private:
  friend class PageRef;
  void AddReference(int32_t id);
  void Release(int32_t id);

  std::vector<int32_t> references_;  // [page_count]
  std::vector<bool> cached_;         // [page_count]
  std::vector<int32_t> free_;        // a stack: the page freed last is still in a processor's cache
  int idle_cached_ = 0;
};

}  // namespace baton
