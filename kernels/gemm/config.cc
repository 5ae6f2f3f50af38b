#include "kernels/gemm/config.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <iterator>

namespace baton::kernels::cuda {
namespace {

constexpr int kTileK = 128;
constexpr int kMaxSharedKib = 226;   // sm_90 lets a block have 227
constexpr int kHalfSharedKib = 113;  // up to here two blocks fit on a multiprocessor
constexpr int kTokenGroup = 4;

int DivideUp(int a, int b) { return (a + b - 1) / b; }

// Stages of `stage_bytes` that fit, at most as many as a block works through; 0: too few. Each of
// the `parts` that take turns holds one while it waits for its next.
int Stages(const GemmChoice& choice, int fixed_bytes, int stage_bytes, int total, int parts = 1) {
  const int room = choice.shared_kib * 1024 - fixed_bytes;
  const int stages = std::min(room / (stage_bytes + kBarrierBytes), total);
  return stages < std::min(parts + 1, total) ? 0 : stages;
}

const char* SmallPlan(const GemmChoice& choice, int sm_count, const GemmSize& size,
                      GemmPlan* plan) {
  const SmallVariant& v = kSmallVariants[choice.variant];
  if (size.m > v.tokens) return "M is more than the kernel's tokens";
  const int groups = DivideUp(size.n, v.rows());
  const int per_sm = choice.shared_kib <= kHalfSharedKib ? 2 : 1;
  plan->passes = choice.split > 1 ? 1 : DivideUp(groups, sm_count * per_sm);
  plan->blocks = DivideUp(groups, plan->passes) * choice.split;
  plan->stage_bytes = v.stage_bytes(size.m, size.tile_bytes);
  const int iterations = DivideUp(DivideUp(DivideUp(size.k, kTileK), choice.split), v.warps);
  plan->stages =
      Stages(choice, v.fixed_bytes(choice.split), plan->stage_bytes, iterations * plan->passes);
  plan->shared_bytes =
      v.fixed_bytes(choice.split) + plan->stages * (plan->stage_bytes + kBarrierBytes);
  return plan->stages == 0 ? "the ring does not fit" : nullptr;
}

const char* LargePlan(const GemmChoice& choice, int sm_count, const GemmSize& size,
                      GemmPlan* plan) {
  const LargeVariant& v = kLargeVariants[choice.variant];
  const int k_tiles = DivideUp(size.k, kTileK);
  if (k_tiles / choice.split < v.parts) return "K has fewer tiles than parts";
  plan->row_blocks = DivideUp(size.n, v.rows());
  plan->token_blocks = DivideUp(size.m, v.tokens);
  plan->token_group = kTokenGroup;
  const int items = plan->row_blocks * plan->token_blocks;
  // Partial sums take the place of the ring: a cluster has one tile then.
  const bool partial = choice.split > 1 || v.parts > 1;
  const int clusters = partial ? items : std::min(items, std::max(1, sm_count / plan->cluster));
  plan->blocks = clusters * plan->cluster;
  plan->stage_bytes = v.stage_bytes(size.tile_bytes);
  plan->stages = Stages(choice, v.fixed_bytes(), plan->stage_bytes,
                        DivideUp(k_tiles, choice.split) * DivideUp(items, clusters), v.parts);
  if (plan->stages == 0) return "the ring does not fit";
  const int ring = plan->stages * (plan->stage_bytes + kBarrierBytes);
  plan->shared_bytes = v.fixed_bytes() + ring;
  // The sums may need more than a short ring.
  if (partial)
    plan->shared_bytes += std::max(0, v.share_bytes() - plan->stages * plan->stage_bytes);
  return plan->shared_bytes > kMaxSharedKib * 1024 ? "the sums do not fit" : nullptr;
}

const char* Fp8Plan(const GemmChoice& choice, int sm_count, const GemmSize& size, GemmPlan* plan) {
  const Fp8Variant& v = kFp8Variants[choice.variant];
  if (size.m > v.tokens) return "M is more than the kernel's tokens";
  plan->row_blocks = DivideUp(size.n, v.rows());
  const int per_sm = choice.shared_kib <= 75 ? 3 : choice.shared_kib <= kHalfSharedKib ? 2 : 1;
  const int clusters =
      choice.split > 1 ? plan->row_blocks : std::min(plan->row_blocks, sm_count * per_sm);
  plan->blocks = clusters * choice.split;
  plan->stage_bytes = v.stage_bytes();
  plan->stages = Stages(
      choice, v.fixed_bytes(), plan->stage_bytes,
      DivideUp(DivideUp(size.k, kTileK), choice.split) * DivideUp(plan->row_blocks, clusters));
  plan->shared_bytes = v.fixed_bytes() + plan->stages * (plan->stage_bytes + kBarrierBytes);
  return plan->stages == 0 ? "the ring does not fit" : nullptr;
}

// How far apart two shapes are, in factors of two.
double Distance(const GemmTableRow& row, const GemmSize& size) {
  return std::abs(std::log2(static_cast<double>(row.n) / size.n)) +
         std::abs(std::log2(static_cast<double>(row.k) / size.k));
}

// Of the rows of the nearest shape, the one for the next larger M (or the largest).
const GemmTableRow* Nearest(std::span<const GemmTableRow> table, const GemmSize& size) {
  const GemmTableRow* best = nullptr;
  for (const GemmTableRow& row : table) {
    if (best == nullptr) {
      best = &row;
      continue;
    }
    const double change = Distance(row, size) - Distance(*best, size);
    if (change > 0.0) continue;
    const bool serves = row.max_m >= size.m;
    const bool best_serves = best->max_m >= size.m;
    const bool closer = serves != best_serves
                            ? serves
                            : (serves ? row.max_m < best->max_m : row.max_m > best->max_m);
    if (change < 0.0 || closer) best = &row;
  }
  return best;
}

// The choice with the largest split, up to its own, that can be laid out; `last` if none can.
GemmChoice Fit(GemmChoice choice, int sm_count, const GemmSize& size, const GemmChoice& last) {
  GemmPlan plan;
  for (; choice.split >= 1; choice.split /= 2) {
    if (PlanGemm(choice, sm_count, size, &plan) == nullptr) return choice;
  }
  return last;
}

}  // namespace

const char* PlanGemm(const GemmChoice& choice, int sm_count, const GemmSize& size, GemmPlan* plan) {
  *plan = {.cluster = choice.split};
  if (choice.split < 1 || choice.split > 8) return "split is not 1 … 8";
  if (choice.split > DivideUp(size.k, kTileK)) return "split is more than the tiles of K";
  if (choice.shared_kib > kMaxSharedKib) return "more shared memory than a block may have";
  switch (choice.kernel) {
    case GemmKernel::kW4A16Small:
      return SmallPlan(choice, sm_count, size, plan);
    case GemmKernel::kW4A16Large:
      return LargePlan(choice, sm_count, size, plan);
    case GemmKernel::kFp8Small:
      return Fp8Plan(choice, sm_count, size, plan);
  }
  return "unknown kernel";
}

GemmChoice ChooseW4A16(int sm_count, const GemmSize& size) {
  // One part, one split, 64 tokens at a time: serves everything.
  const GemmChoice last = {GemmKernel::kW4A16Large, 4, 1, kMaxSharedKib};
  static_assert(kLargeVariants[4].tokens == 64 && kLargeVariants[4].parts == 1);
  return Fit(Nearest(W4A16Table(), size)->choice, sm_count, size, last);
}

GemmChoice ChooseFp8(int sm_count, const GemmSize& size) {
  const GemmChoice last = {GemmKernel::kFp8Small, 7, 1, kMaxSharedKib};
  static_assert(kFp8Variants[7].tokens == kFp8SmallMaxTokens);
  return Fit(Nearest(Fp8Table(), size)->choice, sm_count, size, last);
}

}  // namespace baton::kernels::cuda
