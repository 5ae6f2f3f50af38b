#include "kernels/attention/prefill_plan.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/require.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kBlock = kPrefillBlockTokens;

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

void AppendTiles(const PrefillPlan& plan, const PagedSequence& sequence, int first_page,
                 int kv_head, std::vector<PrefillTile>& tiles) {
  const PrefillShape& shape = plan.shape;
  const int group = shape.q_heads / shape.kv_heads;
  const int queries = PrefillTileRows(shape.head_dim) / plan.heads_per_tile;
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
      tiles.push_back(tile);
    }
  }
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

PrefillPlan PlanPrefill(const PrefillShape& shape, std::span<const PagedSequence> sequences,
                        size_t l2_bytes) {
  BATON_KERNELS_REQUIRE(!PrefillProblem(shape));
  PrefillPlan plan;
  plan.shape = shape;
  plan.heads_per_tile = ChooseHeadsPerTile(shape, sequences);
  // Sections whose keys and values stay in half of the L2 run one after the other; in a section the
  // longest tiles come first, so that the last ones to end are short.
  size_t section_start = 0;
  size_t section_bytes = 0;
  const auto end_section = [&] {
    std::stable_sort(
        plan.tiles.begin() + section_start, plan.tiles.end(),
        [](const PrefillTile& a, const PrefillTile& b) { return TileBlocks(a) > TileBlocks(b); });
    section_start = plan.tiles.size();
    section_bytes = 0;
  };
  int next_page = 0;
  for (const PagedSequence& sequence : sequences) {
    if (sequence.rows == 0) continue;
    plan.rows = std::max(plan.rows, sequence.first_row + sequence.rows);
    const int first_page =
        shape.gathered ? AppendGathers(shape, sequence, next_page, plan.gathers) : 0;
    const int tokens =
        sequence.first_position + sequence.rows - FirstSeen(shape, sequence.first_position);
    const size_t head_bytes = static_cast<size_t>(tokens) * shape.head_dim * 2 * 2;
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      if (section_bytes > 0 && section_bytes + head_bytes > l2_bytes / 2) end_section();
      AppendTiles(plan, sequence, first_page, kv_head, plan.tiles);
      section_bytes += head_bytes;
    }
  }
  end_section();
  return plan;
}

size_t PrefillPlan::ImageBytes() const {
  return kCounterBytes + tiles.size() * sizeof(PrefillTile) +
         gathers.size() * sizeof(PrefillGather);
}

void PrefillPlan::WriteImage(std::byte* image) const {
  std::memset(image, 0, kCounterBytes);
  const size_t tile_bytes = tiles.size() * sizeof(PrefillTile);
  if (!tiles.empty()) std::memcpy(image + kCounterBytes, tiles.data(), tile_bytes);
  if (!gathers.empty()) {
    std::memcpy(image + kCounterBytes + tile_bytes, gathers.data(),
                gathers.size() * sizeof(PrefillGather));
  }
}

size_t PrefillPlan::WorkspaceBytes() const {
  return gathers.size() * kPrefillBlockTokens * static_cast<size_t>(shape.kv_heads) *
         shape.head_dim * 2 * 2;
}

}  // namespace baton::kernels::cuda
