#pragma once

#include <vector>

#include "common/engine/scheduler_policy.h"

namespace baton {

// A request as far as giving up its pages is concerned.
struct PageHolder {
  SequenceKey key = 0;
  int pages = 0;         // held; 0 for the one that wants some
  bool secured = false;  // a decode worker has granted its transfer, or it needs none
};

// Whose pages to give up so that `wanting` gets `missing` pages: holders that are not secured,
// youngest first. A secured request may displace any of them, because it ends without waiting for
// anybody; one that is not displaces only younger ones. Empty when all that together would not
// suffice. Pure.
std::vector<SequenceKey> ChooseDisplaced(const PageHolder& wanting, int missing,
                                         std::vector<PageHolder> holders);

}  // namespace baton
