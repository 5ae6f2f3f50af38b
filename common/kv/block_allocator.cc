#include "common/kv/block_allocator.h"

#include "common/base/check.h"

namespace baton {

PageRef& PageRef::operator=(PageRef&& other) noexcept {
  if (this != &other) {
    Reset();
    allocator_ = std::exchange(other.allocator_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void PageRef::Reset() {
  if (BlockAllocator* allocator = std::exchange(allocator_, nullptr)) allocator->Release(id_);
}

PageRef PageRef::Share() const {
  BATON_CHECK(allocator_ != nullptr);
  allocator_->AddReference(id_);
  return PageRef(allocator_, id_);
}

BlockAllocator::BlockAllocator(int page_count)
    : references_(page_count, 0), cached_(page_count, false) {
  free_.reserve(page_count);
  for (int32_t id = page_count - 1; id >= 0; --id) free_.push_back(id);
}

BlockAllocator::~BlockAllocator() { BATON_CHECK(used_count() == 0); }

std::optional<std::vector<PageRef>> BlockAllocator::TryTake(int count) {
  BATON_CHECK(count >= 0);
  if (count > free_count()) return std::nullopt;
  std::vector<PageRef> pages;
  pages.reserve(count);
  for (int i = 0; i < count; ++i) {
    const int32_t id = free_.back();
    free_.pop_back();
    references_[id] = 1;
    pages.push_back(PageRef(this, id));
  }
  return pages;
}

void BlockAllocator::SetCached(PageId page, bool cached) {
  BATON_CHECK(references_[page.value()] > 0 && cached_[page.value()] != cached);
  cached_[page.value()] = cached;
  if (references_[page.value()] == 1) idle_cached_ += cached ? 1 : -1;
}

bool BlockAllocator::Conserved() const {
  std::vector<bool> seen(references_.size(), false);
  for (int32_t id : free_) {
    if (seen[id] || references_[id] != 0) return false;
    seen[id] = true;
  }
  int idle_cached = 0;
  for (size_t id = 0; id < references_.size(); ++id) {
    if (!seen[id] && references_[id] <= 0) return false;
    if (cached_[id] && references_[id] == 1) ++idle_cached;
  }
  return idle_cached == idle_cached_;
}

void BlockAllocator::AddReference(int32_t id) {
  BATON_CHECK(references_[id] > 0);
  if (cached_[id] && references_[id] == 1) --idle_cached_;
  ++references_[id];
}

void BlockAllocator::Release(int32_t id) {
  BATON_CHECK(references_[id] > 0);
  --references_[id];
  if (references_[id] == 0) {
    BATON_CHECK(!cached_[id]);
    free_.push_back(id);
  } else if (cached_[id] && references_[id] == 1) {
    ++idle_cached_;
  }
}

}  // namespace baton
