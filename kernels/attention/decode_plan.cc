#include "kernels/attention/decode_plan.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/require.h"

namespace baton::kernels {
namespace {

constexpr int kWordsPerWork = sizeof(DecodeWork) / sizeof(int32_t);
static_assert(sizeof(DecodeWork) == 10 * sizeof(int32_t));

constexpr size_t Padded(size_t words) { return (words + 3) / 4 * 4; }

// The chunks that hold a sequence's visible tokens.
struct Visible {
  int32_t token_begin = 0, token_end = 0;
  int32_t chunk_begin = 0, chunk_end = 0;

  int64_t chunks() const { return chunk_end - chunk_begin; }
};

Visible VisibleOf(const DecodePlanShape& shape, int32_t length) {
  Visible visible;
  if (length == 0) return visible;
  visible.token_begin = shape.window > 0 ? std::max(0, length - shape.window) : 0;
  visible.token_end = length;
  visible.chunk_begin = visible.token_begin / shape.chunk_tokens;
  visible.chunk_end = (length + shape.chunk_tokens - 1) / shape.chunk_tokens;
  return visible;
}

// Marks the works of one item, the last `parts` of the plan, as parts of it.
void JoinParts(DecodePlan& plan, int parts) {
  if (parts <= 1) return;
  for (int i = 0; i < parts; ++i) {
    DecodeWork& work = plan.works[plan.works.size() - parts + i];
    work.slot = plan.slots + i;
    work.first_slot = plan.slots;
    work.parts = parts;
    work.counter = plan.counters;
  }
  plan.slots += parts;
  ++plan.counters;
}

// The chunks of a batch and what they cost.
struct Totals {
  int64_t chunks = 0;
  int64_t items = 0;
  int64_t cost = 0;
  int64_t blocks = 0;  // that get work
};

Totals TotalsOf(const DecodePlanShape& shape) {
  Totals totals;
  const int tiles = shape.kv_heads * shape.tiles;
  for (const int32_t length : shape.lengths) {
    totals.chunks += VisibleOf(shape, length).chunks() * tiles;
    totals.items += length > 0 ? tiles : 0;
  }
  totals.cost = totals.chunks + totals.items * shape.work_cost;
  totals.blocks = std::clamp<int64_t>(totals.chunks / shape.min_chunks, 1, shape.blocks);
  return totals;
}

// The least number of chunks such that parts of at most so many, each part of one item, are no more
// than the blocks; 0 if there are more items than blocks.
int64_t LeastWhole(const DecodePlanShape& shape, const Totals& totals) {
  if (totals.items > totals.blocks) return 0;
  const auto parts = [&](int64_t most) {
    int64_t count = 0;
    for (const int32_t length : shape.lengths) {
      count += (VisibleOf(shape, length).chunks() + most - 1) / most;
    }
    return count * shape.kv_heads * shape.tiles;
  };
  int64_t low = 1;
  int64_t high = totals.chunks;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (parts(middle) <= totals.blocks) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

DecodeWork WorkOf(int32_t sequence, int32_t tile, const Visible& visible, int64_t begin,
                  int64_t end) {
  return {.sequence = sequence,
          .tile = tile,
          .token_begin = visible.token_begin,
          .token_end = visible.token_end,
          .chunk_begin = static_cast<int32_t>(begin),
          .chunk_end = static_cast<int32_t>(end)};
}

// One work a block: each item in equal parts of at most `most` chunks.
void PlanWhole(const DecodePlanShape& shape, int64_t most, DecodePlan& plan) {
  const int32_t tiles = shape.kv_heads * shape.tiles;
  for (int32_t s = 0; s < static_cast<int32_t>(shape.lengths.size()); ++s) {
    const Visible visible = VisibleOf(shape, shape.lengths[s]);
    const int64_t parts = (visible.chunks() + most - 1) / most;
    for (int32_t tile = 0; tile < tiles && parts > 0; ++tile) {
      for (int64_t p = 0; p < parts; ++p) {
        plan.works.push_back(WorkOf(s, tile, visible,
                                    visible.chunk_begin + p * visible.chunks() / parts,
                                    visible.chunk_begin + (p + 1) * visible.chunks() / parts));
        plan.begin.push_back(static_cast<int32_t>(plan.works.size()));
      }
      JoinParts(plan, static_cast<int>(parts));
    }
  }
}

// How many whole items a block would take if all take equally many; 0 if that is not nearly even.
int64_t ItemsPerBlock(const DecodePlanShape& shape, const Totals& totals) {
  int64_t largest = 0;
  for (const int32_t length : shape.lengths) {
    largest = std::max(largest, VisibleOf(shape, length).chunks());
  }
  const int64_t count = (totals.items + totals.blocks - 1) / totals.blocks;
  const int64_t share = totals.cost / totals.blocks;
  return count * (largest + shape.work_cost) <= share + share / 16 ? count : 0;
}

// `count` items a block, none of them split.
void PlanItems(const DecodePlanShape& shape, int64_t count, DecodePlan& plan) {
  const int32_t tiles = shape.kv_heads * shape.tiles;
  for (int32_t s = 0; s < static_cast<int32_t>(shape.lengths.size()); ++s) {
    const Visible visible = VisibleOf(shape, shape.lengths[s]);
    for (int32_t tile = 0; tile < tiles && visible.chunks() > 0; ++tile) {
      plan.works.push_back(WorkOf(s, tile, visible, visible.chunk_begin, visible.chunk_end));
      if (plan.works.size() % count == 0) {
        plan.begin.push_back(static_cast<int32_t>(plan.works.size()));
      }
    }
  }
}

// Items end to end, cut into shares of equal cost.
void PlanEndToEnd(const DecodePlanShape& shape, const Totals& totals, DecodePlan& plan) {
  // Block b ends where the cost so far reaches (b + 1) / blocks of all; the last one ends with all.
  const auto share_end = [&](int64_t b) { return (b + 1) * totals.cost / totals.blocks; };
  const int32_t tiles = shape.kv_heads * shape.tiles;
  int64_t block = 0;
  int64_t cost = 0;
  for (int32_t s = 0; s < static_cast<int32_t>(shape.lengths.size()); ++s) {
    const Visible visible = VisibleOf(shape, shape.lengths[s]);
    for (int32_t tile = 0; tile < tiles && visible.chunks() > 0; ++tile) {
      cost += shape.work_cost;
      int parts = 0;
      for (int64_t chunk = visible.chunk_begin; chunk < visible.chunk_end; ++parts) {
        for (; block + 1 < totals.blocks && share_end(block) <= cost; ++block) {
          plan.begin.push_back(static_cast<int32_t>(plan.works.size()));
        }
        const int64_t left = visible.chunk_end - chunk;
        const int64_t room = block + 1 < totals.blocks ? share_end(block) - cost : left;
        const int64_t end = chunk + std::min(room, left);
        plan.works.push_back(WorkOf(s, tile, visible, chunk, end));
        cost += end - chunk;
        chunk = end;
      }
      JoinParts(plan, parts);
    }
  }
}

}  // namespace

std::vector<int32_t> DecodePlan::Words() const {
  const size_t start = Padded(begin.size());
  std::vector<int32_t> words(start + works.size() * kWordsPerWork, 0);
  std::copy(begin.begin(), begin.end(), words.begin());
  if (!works.empty()) {
    std::memcpy(words.data() + start, works.data(), works.size() * sizeof(DecodeWork));
  }
  return words;
}

DecodePlan PlanDecode(const DecodePlanShape& shape) {
  BATON_KERNELS_REQUIRE(shape.blocks > 0 && shape.min_chunks > 0 && shape.tiles > 0);
  BATON_KERNELS_REQUIRE(shape.chunk_tokens > 0 && shape.chunk_tokens % 16 == 0);
  const Totals totals = TotalsOf(shape);
  DecodePlan plan;
  plan.begin.push_back(0);
  // A block with one work ends it once; cut end to end, most blocks would have the rest of one item
  // and the start of another. That is worth a slightly larger share.
  const int64_t whole = LeastWhole(shape, totals);
  const int64_t items = totals.items > totals.blocks ? ItemsPerBlock(shape, totals) : 0;
  if (whole > 0 && whole <= totals.cost / totals.blocks + 1 + shape.work_cost / 2) {
    PlanWhole(shape, whole, plan);
  } else if (items > 0) {
    PlanItems(shape, items, plan);
  } else {
    PlanEndToEnd(shape, totals, plan);
  }
  plan.begin.resize(shape.blocks + 1, static_cast<int32_t>(plan.works.size()));
  return plan;
}

size_t DecodePlanBytes(int sequences, int kv_heads, int tiles, int blocks) {
  const size_t works = static_cast<size_t>(sequences) * kv_heads * tiles + blocks;
  return Padded(blocks + 1) * sizeof(int32_t) + works * sizeof(DecodeWork);
}

}  // namespace baton::kernels
