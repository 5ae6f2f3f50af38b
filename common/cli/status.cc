#include "common/cli/status.h"

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>

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

const char* RoleName(v1::Role role) { return role == v1::ROLE_PREFILL ? "prefill" : "decode"; }

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

absl::Status RunStatus(const StatusOptions& options) {
  RealClock clock;
  InferenceClient client(options.endpoint, clock);
  BATON_ASSIGN_OR_RETURN(const v1::GetLoadResponse load, client.GetLoad(std::chrono::seconds(10)));
  nlohmann::ordered_json json;
  json["live_requests"] = load.live_requests();
  json["queued_requests"] = load.queued_requests();
  json["workers"] = nlohmann::ordered_json::array();
  for (const v1::WorkerLoad& worker : load.workers()) {
    json["workers"].push_back({{"id", worker.worker_id()},
                               {"role", RoleName(worker.role())},
                               {"state", worker.state()},
                               {"running", worker.running()},
                               {"queued", worker.queued()},
                               {"pages_free", worker.pages_free()},
                               {"pages_total", worker.pages_total()}});
  }
  if (options.json) {
    fmt::print("{}\n", json.dump());
    return absl::OkStatus();
  }
  fmt::print("{} requests live, {} queued\n", load.live_requests(), load.queued_requests());
  fmt::print("{:<24}{:<10}{:<10}{:>8}{:>8}{:>16}\n", "worker", "role", "state", "running", "queued",
             "pages free");
  for (const v1::WorkerLoad& worker : load.workers()) {
    fmt::print("{:<24}{:<10}{:<10}{:>8}{:>8}{:>16}\n", worker.worker_id(), RoleName(worker.role()),
               worker.state(), worker.running(), worker.queued(),
               fmt::format("{} of {}", worker.pages_free(), worker.pages_total()));
  }
  return absl::OkStatus();
}

}  // namespace baton
