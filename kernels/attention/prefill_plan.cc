#include "kernels/attention/prefill_plan.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/numeric/require.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kBlock = kPrefillBlockTokens;
// A part of a split tile is worth its own start and its trip through memory.
constexpr int64_t kMinPartBlocks = 4;

int PageTokens(const PrefillShape& shape) { return shape.gathered ? kBlock : shape.page_tokens; }

// First token that a query at `position` sees.
int FirstSeen(const PrefillShape& shape, int position) {
  return shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
}

int Blocks(int begin, int end) { return (end + kBlock - 1) / kBlock - begin / kBlock; }

int TileBlocks(const PrefillTile& tile) { return Blocks(tile.kv_begin, tile.kv_end); }

// Steps of all tiles of one head when tiles hold `queries` queries.
int64_t SequenceSteps(const PrefillShape& shape, const PagedSequence& sequence, int queries) {
  int64_t steps = 0;
  for (int first = 0; first < sequence.rows; first += queries) {
    const int position = sequence.first_position + first;
    steps +=
        Blocks(FirstSeen(shape, position), position + std::min(queries, sequence.rows - first));
  }
  return steps;
}

// Heads that share the rows of a tile: 1 unless short sequences leave tiles empty.
int ChooseHeadsPerTile(const PrefillShape& shape, std::span<const PagedSequence> sequences) {
  const int group = shape.q_heads / shape.kv_heads;
  const int rows = PrefillTileRows(shape.head_dim);
  int best = 1;
  int64_t best_steps = -1;
  for (int heads = 1; group % heads == 0 && rows % heads == 0; heads *= 2) {
    int64_t steps = 0;
    for (const PagedSequence& sequence : sequences) {
      steps += SequenceSteps(shape, sequence, rows / heads) * (shape.q_heads / heads);
    }
    if (best_steps < 0 || steps < best_steps) {
      best = heads;
      best_steps = steps;
    }
  }
  return best;
}

// The tiles of one sequence that read one KV head.
struct HeadWork {
  std::vector<PrefillTile> tiles;
  int64_t bytes = 0;  // of keys and values
  int64_t steps = 0;
};

HeadWork MakeHeadWork(const PrefillPlan& plan, const PagedSequence& sequence, int first_page,
                      int kv_head) {
  const PrefillShape& shape = plan.shape;
  const int group = shape.q_heads / shape.kv_heads;
  const int queries = PrefillTileRows(shape.head_dim) / plan.heads_per_tile;
  HeadWork work;
  for (int first = 0; first < sequence.rows; first += queries) {
    for (int head = 0; head < group; head += plan.heads_per_tile) {
      PrefillTile tile;
      tile.pages = shape.gathered ? nullptr : sequence.pages;
      tile.first_page = first_page;
      tile.position = sequence.first_position + first;
      tile.queries = std::min(queries, sequence.rows - first);
      tile.row = sequence.first_row + first;
      tile.head = kv_head * group + head;
      tile.kv_head = kv_head;
      const int seen = FirstSeen(shape, tile.position);
      tile.kv_begin = seen - seen % PageTokens(shape);
      tile.kv_end = tile.position + tile.queries;
      work.steps += TileBlocks(tile);
      work.tiles.push_back(tile);
    }
  }
  const int64_t tokens =
      sequence.first_position + sequence.rows - FirstSeen(shape, sequence.first_position);
  work.bytes = tokens * shape.head_dim * 2 * 2;
  return work;
}

void LongestFirst(std::vector<PrefillTile>::iterator begin,
                  std::vector<PrefillTile>::iterator end) {
  std::stable_sort(begin, end, [](const PrefillTile& a, const PrefillTile& b) {
    return TileBlocks(a) > TileBlocks(b);
  });
}

// Whether each of `sections` sections, cut at equal bytes, keeps all multiprocessors busy for
// longer than its longest tile.
bool SectionsAreBalanced(const std::vector<HeadWork>& heads, int64_t bytes, int64_t sections,
                         int64_t longest, int sm_count) {
  std::vector<int64_t> steps(sections, 0);
  int64_t before = 0;
  for (const HeadWork& head : heads) {
    steps[before * sections / bytes] += head.steps;
    before += head.bytes;
  }
  return *std::min_element(steps.begin(), steps.end()) * 4 >= longest * sm_count * 5;
}

// Sections whose keys and values take at most half of the L2 run one after the other; within a
// section the longest tiles come first, so that the last ones to end are short.
void OrderTiles(const std::vector<HeadWork>& heads, const PrefillDevice& device,
                std::vector<PrefillTile>& tiles) {
  int64_t bytes = 0;
  int64_t longest = 0;
  for (const HeadWork& head : heads) {
    bytes += head.bytes;
    for (const PrefillTile& tile : head.tiles) {
      longest = std::max<int64_t>(longest, TileBlocks(tile));
    }
  }
  const int64_t budget = std::max<int64_t>(1, static_cast<int64_t>(device.l2_bytes / 2));
  int64_t sections =
      std::min<int64_t>((bytes + budget - 1) / budget, static_cast<int64_t>(heads.size()));
  while (sections > 1 && !SectionsAreBalanced(heads, bytes, sections, longest, device.sm_count)) {
    --sections;
  }
  int64_t before = 0;
  int64_t section = 0;
  auto start = tiles.size();
  for (const HeadWork& head : heads) {
    if (before * sections / bytes != section) {
      section = before * sections / bytes;
      LongestFirst(tiles.begin() + static_cast<int64_t>(start), tiles.end());
      start = tiles.size();
    }
    tiles.insert(tiles.end(), head.tiles.begin(), head.tiles.end());
    before += head.bytes;
  }
  LongestFirst(tiles.begin() + static_cast<int64_t>(start), tiles.end());
}

// Pages of the workspace for one sequence; returns the page that token 0 would have.
int AppendGathers(const PrefillShape& shape, const PagedSequence& sequence, int& next_page,
                  std::vector<PrefillGather>& gathers) {
  const int seen = FirstSeen(shape, sequence.first_position);
  const int begin = seen - seen % shape.page_tokens;
  const int end = sequence.first_position + sequence.rows;
  const int first_page = next_page - begin / kBlock;
  for (int t = begin; t < end; t = (t / kBlock + 1) * kBlock) {
    gathers.push_back({sequence.pages, t, std::min(end, (t / kBlock + 1) * kBlock), next_page++});
  }
  return first_page;
}

// Where a few long tiles would leave multiprocessors idle, cuts the tokens of the long ones.
void SplitLongTiles(PrefillPlan& plan, int sm_count) {
  int64_t steps = 0;
  int64_t longest = 0;
  for (const PrefillTile& tile : plan.tiles) {
    steps += TileBlocks(tile);
    longest = std::max<int64_t>(longest, TileBlocks(tile));
  }
  const int64_t share = std::max(kMinPartBlocks, (steps + sm_count - 1) / sm_count);
  if (longest * 4 <= share * 5) return;
  std::vector<PrefillTile> tiles;
  for (const PrefillTile& tile : plan.tiles) {
    const int64_t blocks = TileBlocks(tile);
    // To the nearest: one part more than there are multiprocessors would be a second round.
    const int64_t parts = (blocks + share / 2) / share;
    if (parts <= 1) {
      tiles.push_back(tile);
      continue;
    }
    plan.merges.push_back({tile, plan.slots, static_cast<int32_t>(parts)});
    const int first = tile.kv_begin / kBlock;
    for (int64_t i = 0; i < parts; ++i) {
      PrefillTile part = tile;
      if (i > 0) part.kv_begin = static_cast<int32_t>(first + blocks * i / parts) * kBlock;
      if (i + 1 < parts)
        part.kv_end = static_cast<int32_t>(first + blocks * (i + 1) / parts) * kBlock;
      part.slot = plan.slots++;
      tiles.push_back(part);
    }
  }
  LongestFirst(tiles.begin(), tiles.end());
  plan.tiles = std::move(tiles);
}

template <typename T>
void CopyTo(std::byte* to, const std::vector<T>& from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size() * sizeof(T));
}

}  // namespace

std::optional<std::string> PrefillProblem(const PrefillShape& shape) {
  const auto expect = [](const char* field, int value, const char* expectation) {
    return std::string(field) + ": " + std::to_string(value) + ", expected " + expectation;
  };
  if (shape.head_dim != 64 && shape.head_dim != 128) {
    return expect("head_dim", shape.head_dim, "64 or 128");
  }
  if (auto problem =
          KvPageLayout::Validate({1, shape.kv_heads, shape.head_dim}, shape.page_tokens)) {
    return problem;
  }
  if (shape.q_heads < 1 || shape.q_heads % shape.kv_heads != 0) {
    return expect("q_heads", shape.q_heads, "a multiple of kv_heads");
  }
  if (shape.window < 0) return expect("window", shape.window, "0 or more");
  return std::nullopt;
}

bool PrefillGatherPays(const PrefillShape& shape, std::span<const PagedSequence> sequences) {
  constexpr int64_t kReads = 64;  // of a block of tokens, by tiles
  if (shape.page_tokens > KvPageLayout::kMinPageTokens) return false;
  int64_t blocks = 0;
  int64_t steps = 0;  // of one KV head
  for (const PagedSequence& sequence : sequences) {
    if (sequence.rows == 0) continue;
    blocks +=
        Blocks(FirstSeen(shape, sequence.first_position), sequence.first_position + sequence.rows);
    steps += SequenceSteps(shape, sequence, PrefillTileRows(shape.head_dim)) *
             (shape.q_heads / shape.kv_heads);
  }
  return steps >= kReads * blocks && blocks > 0;
}

PrefillPlan PlanPrefill(const PrefillShape& shape, std::span<const PagedSequence> sequences,
                        const PrefillDevice& device) {
  BATON_KERNELS_REQUIRE(!PrefillProblem(shape));
  PrefillPlan plan;
  plan.shape = shape;
  plan.heads_per_tile = ChooseHeadsPerTile(shape, sequences);
  std::vector<HeadWork> heads;
  int next_page = 0;
  for (const PagedSequence& sequence : sequences) {
    if (sequence.rows == 0) continue;
    plan.rows = std::max(plan.rows, sequence.first_row + sequence.rows);
    const int first_page =
        shape.gathered ? AppendGathers(shape, sequence, next_page, plan.gathers) : 0;
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      heads.push_back(MakeHeadWork(plan, sequence, first_page, kv_head));
    }
  }
  OrderTiles(heads, device, plan.tiles);
  SplitLongTiles(plan, device.sm_count);
  return plan;
}

void PrefillPlan::WriteImage(std::byte* image) const {
  std::memset(image, 0, kCounterBytes);
  CopyTo(image + TilesOffset(), tiles);
  CopyTo(image + MergesOffset(), merges);
  CopyTo(image + GathersOffset(), gathers);
}

size_t PrefillPlan::SumsOffset() const {
  return gathers.size() * kPrefillBlockTokens * static_cast<size_t>(shape.kv_heads) *
         shape.head_dim * 2 * 2;
}

size_t PrefillPlan::StatsOffset() const {
  return SumsOffset() + static_cast<size_t>(slots) * PrefillTileRows(shape.head_dim) *
                            shape.head_dim * sizeof(float);
}

size_t PrefillPlan::WorkspaceBytes() const {
  return StatsOffset() +
         static_cast<size_t>(slots) * PrefillTileRows(shape.head_dim) * 2 * sizeof(float);
}

}  // namespace baton::kernels::cuda
