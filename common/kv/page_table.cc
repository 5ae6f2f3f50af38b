#include "common/kv/page_table.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

void PageTable::Append(PageRef page) {
  BATON_CHECK(page);
  ids_.push_back(page.id().value());
  pages_.push_back(std::move(page));
}

void PageTable::Append(std::vector<PageRef> pages) {
  for (PageRef& page : pages) Append(std::move(page));
}

void PageTable::Truncate(int count) {
  BATON_CHECK(count >= 0 && count <= size());
  pages_.resize(count);
  ids_.resize(count);
}

PageTable PageTable::Share() const {
  PageTable copy;
  for (const PageRef& page : pages_) copy.Append(page.Share());
  return copy;
}

}  // namespace baton
