#include "common/cluster/model_probe.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr int kEntries = kProbePositions * kProbeTop;

// The finalizer of splitmix64.
uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// The log-probabilities of one position by token, and the least of them.
struct Position {
  Position(const v1::ModelProbe& probe, int index) {
    for (int i = index * kProbeTop; i < (index + 1) * kProbeTop; ++i) {
      logprobs[probe.tokens(i)] = probe.logprobs(i);
      least = std::min(least, static_cast<double>(probe.logprobs(i)));
    }
  }
  // Of a token not reported: at most the least one that is, and then as near `other` as can be.
  double Of(int32_t token, const Position& other) const {
    if (const auto it = logprobs.find(token); it != logprobs.end()) return it->second;
    return std::min(least, other.logprobs.at(token));
  }

  std::map<int32_t, double> logprobs;
  double least = 0;
};

double DistanceAt(const Position& a, const Position& b) {
  std::map<int32_t, double> tokens = a.logprobs;
  tokens.insert(b.logprobs.begin(), b.logprobs.end());
  double sum = 0;
  double weights = 0;
  for (const auto& [token, unused] : tokens) {
    const double x = a.Of(token, b);
    const double y = b.Of(token, a);
    const double weight = std::exp(x) + std::exp(y);
    sum += weight * std::abs(x - y);
    weights += weight;
  }
  return weights > 0 ? sum / weights : 0;
}

}  // namespace

std::vector<int32_t> ProbeSequence(int vocab_size) {
  std::vector<int32_t> tokens(kProbeTokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const uint64_t hash = Mix64((i % kProbePositions + 1) * 0x9E3779B97F4A7C15u);
    tokens[i] = static_cast<int32_t>(hash % static_cast<uint64_t>(vocab_size));
  }
  return tokens;
}

absl::StatusOr<v1::ModelProbe> TakeProbe(ModelRunner& runner, int vocab_size) {
  const KvPages& kv = runner.kv();
  const int needed = (kProbeTokens + kv.page_tokens - 1) / kv.page_tokens;
  if (kv.page_count < needed || vocab_size < kProbeTop) {
    return FailedPrecondition("probe: {} pages and a vocabulary of {}, expected at least {} and {}",
                              kv.page_count, vocab_size, needed, kProbeTop);
  }
  const std::vector<int32_t> tokens = ProbeSequence(vocab_size);
  std::vector<int32_t> pages(static_cast<size_t>(needed));
  std::iota(pages.begin(), pages.end(), 0);
  v1::ModelProbe probe;
  probe.set_version(kProbeVersion);
  for (int position = 0; position < kProbePositions; ++position) {
    Batch batch;
    batch.entries.push_back(
        {.tokens = std::span(tokens).subspan(static_cast<size_t>(position * kProbeStride),
                                             static_cast<size_t>(kProbeStride)),
         .first_position = position * kProbeStride,
         .pages = pages,
         .sample = true,
         .sampling = {.temperature = 0, .top_logprobs = kProbeTop}});
    BATON_ASSIGN_OR_RETURN(const StepResult result, runner.Run(batch));
    for (const TokenProbability& top : result.sampled.front()->top) {
      probe.add_tokens(top.token);
      probe.add_logprobs(top.logprob);
    }
  }
  if (const absl::Status status = ValidateProbe(probe); !status.ok()) {
    return Internal("{}", MessageOf(status));
  }
  return probe;
}

absl::Status ValidateProbe(const v1::ModelProbe& probe) {
  if (probe.version() == 0) return absl::OkStatus();
  if (probe.tokens_size() != kEntries || probe.logprobs_size() != kEntries) {
    return InvalidArgument("probe: {} tokens and {} logprobs, expected {} of each",
                           probe.tokens_size(), probe.logprobs_size(), kEntries);
  }
  for (int i = 0; i < kEntries; ++i) {
    // Rounding may leave a certain token a little above 0.
    if (!(probe.logprobs(i) <= 1e-3f) || !std::isfinite(probe.logprobs(i))) {
      return InvalidArgument("probe.logprobs[{}]: {}, expected a finite number of at most 0", i,
                             probe.logprobs(i));
    }
  }
  return absl::OkStatus();
}

std::optional<double> ProbeDistance(const v1::ModelProbe& a, const v1::ModelProbe& b) {
  const bool comparable = a.version() != 0 && a.version() == b.version();
  if (!comparable || !ValidateProbe(a).ok() || !ValidateProbe(b).ok()) return std::nullopt;
  double sum = 0;
  for (int i = 0; i < kProbePositions; ++i) sum += DistanceAt(Position(a, i), Position(b, i));
  return sum / kProbePositions;
}

}  // namespace baton
