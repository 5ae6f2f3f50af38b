#include "common/cli/wait.h"

#include <condition_variable>
#include <mutex>

#include "common/base/status.h"
#include "common/cli/client.h"

namespace baton {
namespace {

constexpr Duration kPollInterval = std::chrono::milliseconds(50);

int ReadyWorkers(const v1::GetLoadResponse& load, v1::Role role) {
  int ready = 0;
  for (const v1::WorkerLoad& worker : load.workers()) {
    ready += worker.role() == role && worker.state() == "ready" ? 1 : 0;
  }
  return ready;
}

}  // namespace

absl::Status RunWait(const WaitOptions& options) {
  RealClock clock;
  InferenceClient client(options.endpoint, clock);
  const TimePoint deadline = clock.Now() + options.timeout;
  std::mutex mutex;
  std::condition_variable never;
  std::string last = "the router did not answer";
  while (clock.Now() < deadline) {
    const auto load = client.GetLoad(std::chrono::seconds(2));
    if (load.ok()) {
      const int prefill = ReadyWorkers(*load, v1::ROLE_PREFILL);
      const int decode = ReadyWorkers(*load, v1::ROLE_DECODE);
      if (prefill >= options.prefill && decode >= options.decode) return absl::OkStatus();
      last = fmt::format("{} of {} prefill and {} of {} decode workers are ready", prefill,
                         options.prefill, decode, options.decode);
    } else {
      last = ToString(load.status());
    }
    std::unique_lock lock(mutex);
    clock.WaitUntil(never, lock, clock.Now() + kPollInterval);
  }
  return DeadlineExceeded("{}: {}", options.endpoint, last);
}

}  // namespace baton
