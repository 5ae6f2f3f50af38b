#include "common/cli/bench_serve.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>

#include "common/base/status.h"
#include "common/cli/arrivals.h"
#include "common/cli/client.h"

namespace baton {
namespace {

// One request in flight and what is seen of it. Events come on the library's threads, one at a
// time.
struct Flight {
  RequestRecord record;
  TimePoint start;
  TimePoint last;
  std::unique_ptr<InferenceClient::Stream> stream;
};

class LoadRun {
 public:
  LoadRun(const BenchServeOptions& options, v1::GetModelInfoResponse info)
      : options_(options), info_(std::move(info)), client_(options.endpoint, clock_) {}

  double Run() {
    const std::vector<Duration> arrivals =
        ArrivalTimes(options_.requests, options_.rate, options_.seed);
    flights_.resize(arrivals.size());
    const TimePoint begin = clock_.Now();
    for (size_t i = 0; i < arrivals.size(); ++i) {
      WaitForTurn(begin + arrivals[i]);
      Launch(static_cast<int>(i));
    }
    std::unique_lock lock(mutex_);
    while (finished_ < options_.requests) {
      clock_.WaitUntil(changed_, lock, clock_.Now() + std::chrono::seconds(1));
      ShowProgress();
    }
    const double seconds = Seconds(clock_.Now() - begin);
    if (options_.progress) fmt::print(stderr, "\n");
    return seconds;
  }

  std::vector<RequestRecord> TakeRecords() {
    std::vector<RequestRecord> records;
    for (auto& flight : flights_) {
      flight->stream.reset();
      records.push_back(std::move(flight->record));
    }
    return records;
  }

 private:
  void WaitForTurn(TimePoint arrival) {
    std::unique_lock lock(mutex_);
    while (clock_.Now() < arrival ||
           (options_.concurrency > 0 && launched_ - finished_ >= options_.concurrency)) {
      const TimePoint until = clock_.Now() + std::chrono::milliseconds(200);
      clock_.WaitUntil(changed_, lock, clock_.Now() < arrival ? std::min(arrival, until) : until);
      ShowProgress();
    }
    ++launched_;
  }

  void Launch(int index) {
    v1::GenerateRequest request;
    request.set_model(options_.model);
    request.set_ignore_eos(true);
    request.set_temperature(options_.temperature);
    request.set_seed(options_.seed + static_cast<uint64_t>(index));
    std::seed_seq sequence{static_cast<uint32_t>(options_.seed), static_cast<uint32_t>(index), 1u};
    std::mt19937 rng(sequence);
    const int input = Draw(options_.input_len, rng);
    request.set_max_tokens(static_cast<uint32_t>(Draw(options_.output_len, rng)));
    const std::vector<int32_t> special(info_.eos_token_ids().begin(), info_.eos_token_ids().end());
    const std::vector<int32_t> prompt = RandomPrompt(
        input, static_cast<int32_t>(info_.vocab_size()), special, options_.seed, index);
    request.mutable_token_ids()->mutable_ids()->Add(prompt.begin(), prompt.end());

    auto& flight = flights_[static_cast<size_t>(index)];
    flight = std::make_unique<Flight>();
    flight->record.prompt_tokens = input;
    flight->start = flight->last = clock_.Now();
    flight->stream = client_.Generate(
        request, options_.timeout,
        [this, f = flight.get()](StreamEvent<v1::GenerateResponse> event) { Take(event, *f); });
  }

  int Draw(int length, std::mt19937& rng) const {
    const int low = std::max(1, static_cast<int>(length * (1 - options_.range_ratio)));
    const int high = std::max(low, static_cast<int>(length * (1 + options_.range_ratio)));
    return std::uniform_int_distribution<int>(low, high)(rng);
  }

  void Take(const StreamEvent<v1::GenerateResponse>& event, Flight& flight) {
    const TimePoint now = clock_.Now();
    RequestRecord& record = flight.record;
    if (const auto* end = std::get_if<StreamClosed>(&event)) {
      record.ok = end->status.ok();
      if (!record.ok) record.error = ToString(end->status);
      {
        std::lock_guard lock(mutex_);
        ++finished_;
        failed_ += record.ok ? 0 : 1;
      }
      changed_.notify_one();
      return;
    }
    const auto& response = std::get<v1::GenerateResponse>(event);
    if (!response.has_chunk() || response.chunk().token_ids().empty()) return;
    if (record.output_tokens == 0) {
      record.ttft_ms = Milliseconds(now - flight.start);
    } else {
      record.itl_ms.push_back(Milliseconds(now - flight.last));
    }
    flight.last = now;
    record.e2e_ms = Milliseconds(now - flight.start);
    record.output_tokens += response.chunk().token_ids_size();
  }

  // With mutex_ held.
  void ShowProgress() {
    if (!options_.progress) return;
    const bool terminal = isatty(2) != 0;
    if (!terminal && finished_ < shown_ + std::max(1, options_.requests / 10)) return;
    shown_ = finished_;
    fmt::print(stderr, "{}{}/{} done, {} in flight, {} failed{}", terminal ? "\r" : "", finished_,
               options_.requests, launched_ - finished_, failed_, terminal ? "   " : "\n");
    std::fflush(stderr);
  }

  const BenchServeOptions& options_;
  const v1::GetModelInfoResponse info_;
  RealClock clock_;
  InferenceClient client_;
  std::vector<std::unique_ptr<Flight>> flights_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int launched_ = 0;  // guarded by mutex_
  int finished_ = 0;  // guarded by mutex_
  int failed_ = 0;    // guarded by mutex_
  int shown_ = 0;     // guarded by mutex_
};

}  // namespace

absl::Status RunBenchServe(const BenchServeOptions& options) {
  RealClock clock;
  InferenceClient client(options.endpoint, clock);
  BATON_ASSIGN_OR_RETURN(v1::GetModelInfoResponse info,
                         client.GetModelInfo(std::chrono::seconds(10)));
  const int64_t longest = static_cast<int64_t>(
      static_cast<double>(options.input_len + options.output_len) * (1 + options.range_ratio));
  if (info.max_context() != 0 && longest > info.max_context()) {
    return InvalidArgument("--input-len + --output-len: up to {} tokens, the model's context is {}",
                           longest, info.max_context());
  }
  LoadRun run(options, std::move(info));
  const double seconds = run.Run();
  nlohmann::ordered_json summary = SummarizeBench(run.TakeRecords(), seconds, options.goodput);
  summary["max_concurrency"] =
      options.concurrency > 0 ? nlohmann::ordered_json(options.concurrency) : nullptr;
  summary["request_rate"] = options.rate > 0 ? nlohmann::ordered_json(options.rate) : nullptr;
  fmt::print("{}", options.json ? summary.dump() + "\n" : FormatBench(summary));
  return absl::OkStatus();
}

}  // namespace baton
