#include "tests/bench/engine_cpu/measure.h"

#include <time.h>

#include <algorithm>
#include <numeric>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace baton::bench {
namespace {

struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> pages;
};

absl::Status Step(CpuRunner& runner, std::vector<Sequence>& sequences, int first, int count) {
  Batch batch;
  for (Sequence& s : sequences) {
    batch.entries.push_back({.tokens = std::span(s.tokens).subspan(static_cast<size_t>(first),
                                                                   static_cast<size_t>(count)),
                             .first_position = first,
                             .pages = s.pages,
                             .sample = true,
                             .sampling = {.temperature = 0.0f}});
  }
  return runner.Run(batch).status();
}

double SecondsNow(TimeBase base) {
  if (base == TimeBase::kWall) return Seconds(RealClock().Now().time_since_epoch());
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

int ContextOf(const Workload& workload) {
  return workload.depth + workload.tokens * workload.steps;
}

absl::StatusOr<double> Measure(CpuRunner& runner, const Workload& workload, int vocabulary,
                               TimeBase base) {
  const int context = ContextOf(workload);
  const int page_tokens = runner.kv().page_tokens;
  const int pages = (context + page_tokens - 1) / page_tokens;
  std::vector<Sequence> sequences(static_cast<size_t>(workload.sequences));
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens.resize(static_cast<size_t>(context));
    for (size_t t = 0; t < sequences[i].tokens.size(); ++t) {
      sequences[i].tokens[t] = static_cast<int32_t>((t * 131 + i * 17) % vocabulary);
    }
    sequences[i].pages.resize(static_cast<size_t>(pages));
    std::iota(sequences[i].pages.begin(), sequences[i].pages.end(),
              static_cast<int32_t>(i) * pages);
  }
  if (workload.depth > 0) BATON_RETURN_IF_ERROR(Step(runner, sequences, 0, workload.depth));
  const double start = SecondsNow(base);
  for (int step = 0; step < workload.steps; ++step) {
    BATON_RETURN_IF_ERROR(
        Step(runner, sequences, workload.depth + step * workload.tokens, workload.tokens));
  }
  const double seconds = SecondsNow(base) - start;
  return workload.sequences * workload.tokens * workload.steps / seconds;
}

Spread SpreadOf(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples.front(), samples.back()};
}

}  // namespace baton::bench
