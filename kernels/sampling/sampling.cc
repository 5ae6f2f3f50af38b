#include "kernels/sampling/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace baton::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// NaN below everything.
float Ordered(float logit) { return std::isnan(logit) ? -kInfinity : logit; }

// Least significant digit first on the bits of non-negative floats, descending; stable, so equal
// weights keep their order.
template <class Candidate>
void RadixSortDescending(std::vector<Candidate>& items, std::vector<Candidate>& scratch) {
  constexpr int kBits = 11;
  constexpr uint32_t kBuckets = 1u << kBits;
  scratch.resize(items.size());
  for (int shift = 0; shift < 32; shift += kBits) {
    const auto digit = [shift](const Candidate& c) {
      return (~std::bit_cast<uint32_t>(c.weight) >> shift) & (kBuckets - 1);
    };
    std::array<uint32_t, kBuckets> start{};
    for (const Candidate& c : items) ++start[digit(c)];
    std::exclusive_scan(start.begin(), start.end(), start.begin(), 0u);
    for (const Candidate& c : items) scratch[start[digit(c)]++] = c;
    items.swap(scratch);
  }
}

// Length of the shortest prefix whose weight, added one by one, reaches `share` of all.
template <class Candidate>
size_t PrefixOfShare(const std::vector<Candidate>& sorted, float share) {
  float total = 0.0f;
  for (const Candidate& c : sorted) total += c.weight;
  const float target = share * total;
  float sum = 0.0f;
  for (size_t i = 0; i < sorted.size(); ++i) {
    sum += sorted[i].weight;
    if (sum >= target) return i + 1;
  }
  return sorted.size();
}

}  // namespace

int32_t SampleGreedy(std::span<const float> logits) {
  int32_t best = -1;
  float max = -kInfinity;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > max) {
      max = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

std::span<const float> Sampler::Change(std::span<const float> logits, const LogitChanges& changes) {
  changed_.assign(logits.begin(), logits.end());
  for (const TokenBias& b : changes.bias) changed_[static_cast<size_t>(b.token)] += b.bias;
  if (counts_.size() < logits.size()) counts_.resize(logits.size(), -1);
  for (size_t i = 0; i < changes.history.size(); ++i) {
    int32_t& count = counts_[static_cast<size_t>(changes.history[i])];
    count = std::max(count, 0) + (i < static_cast<size_t>(changes.prompt_tokens) ? 0 : 1);
  }
  for (const int32_t token : changes.history) {
    const int32_t count = std::exchange(counts_[static_cast<size_t>(token)], -1);
    if (count < 0) continue;  // done at an earlier occurrence
    float& x = changed_[static_cast<size_t>(token)];
    x = x > 0.0f ? x / changes.repetition_penalty : x * changes.repetition_penalty;
    if (count == 0) continue;
    x -= changes.frequency_penalty * static_cast<float>(count);
    x -= changes.presence_penalty;
  }
  return changed_;
}

int32_t Sampler::Sample(std::span<const float> logits, const SamplingParams& params,
                        uint64_t position) {
  const int32_t greedy = SampleGreedy(logits);
  if (greedy < 0 || params.temperature <= 0.0f) return greedy;
  const float max = logits[greedy];
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    const float x = Ordered(logits[i]);
    // Equal to the maximum covers an infinite one, where the difference is NaN.
    const float weight = x == max ? 1.0f : std::exp((x - max) / params.temperature);
    if (weight > 0.0f) candidates_.push_back({weight, static_cast<int32_t>(i)});
  }
  const size_t top_k = static_cast<size_t>(std::max(params.top_k, 0));
  if (top_k > 0 && top_k < candidates_.size()) {
    const auto before = [](const Candidate& a, const Candidate& b) {
      return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
    };
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(top_k);
    std::nth_element(candidates_.begin(), end, candidates_.end(), before);
    candidates_.erase(end, candidates_.end());
    std::sort(candidates_.begin(), candidates_.end(), before);
  } else {
    RadixSortDescending(candidates_, scratch_);
  }
  if (params.top_p < 1.0f) candidates_.resize(PrefixOfShare(candidates_, params.top_p));
  const float floor = params.min_p * candidates_.front().weight;
  while (candidates_.back().weight < floor && candidates_.size() > 1) candidates_.pop_back();

  float total = 0.0f;
  for (const Candidate& c : candidates_) total += c.weight;
  const float target = SamplingUniform(params.seed, position) * total;
  float sum = 0.0f;
  for (const Candidate& c : candidates_) {
    sum += c.weight;
    if (sum > target) return c.token;
  }
  return candidates_.back().token;
}

LogprobResult TokenLogprobs(std::span<const float> logits, int32_t chosen, int top_count) {
  LogprobResult result;
  result.chosen.token = chosen;
  const int32_t best = SampleGreedy(logits);
  const float max = best < 0 ? 0.0f : logits[best];
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(Ordered(logit)) - max);
  const double log_sum = std::log(sum);
  const auto logprob = [&](int32_t token) {
    return static_cast<float>(static_cast<double>(Ordered(logits[token])) - max - log_sum);
  };
  result.chosen.logprob = logprob(chosen);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t count = std::min(logits.size(), static_cast<size_t>(std::max(top_count, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = Ordered(logits[a]);
                      const float y = Ordered(logits[b]);
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < count; ++i) result.top.push_back({order[i], logprob(order[i])});
  return result;
}

}  // namespace baton::kernels
