#include "prefill_node/page_reclaim.h"

#include <algorithm>

namespace baton {

std::vector<SequenceKey> ChooseDisplaced(const PageHolder& wanting, int missing,
                                         std::vector<PageHolder> holders) {
  std::erase_if(holders, [&](const PageHolder& holder) {
    return holder.secured || holder.pages == 0 || holder.key == wanting.key ||
           (!wanting.secured && holder.key < wanting.key);
  });
  std::sort(holders.begin(), holders.end(),
            [](const PageHolder& a, const PageHolder& b) { return a.key > b.key; });
  std::vector<SequenceKey> displaced;
  for (const PageHolder& holder : holders) {
    if (missing <= 0) break;
    displaced.push_back(holder.key);
    missing -= holder.pages;
  }
  if (missing > 0) displaced.clear();
  return displaced;
}

}  // namespace baton
