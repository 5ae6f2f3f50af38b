// Two prefill and two decode workers with pages for one and a half requests each, moved one event
// at a time in a random order. Every seed is printed with a failure and runs alone by its name.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/base/status.h"
#include "tests/cluster/cluster.h"

namespace baton {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxPrompt = 60;
constexpr int kMaxTokens = 36;
constexpr int kRequests = 30;
constexpr size_t kLive = 6;
constexpr int64_t kMinSteps = 2100;  // of each of the 48 walks: more than 100,000 together

struct Storm {
  FaultyTransport::Faults faults;
  double cancel = 0;    // chances per step
  double kill = 0;      // a worker, which starts again
  double cut = 0;       // the hand-over streams of a decode worker
  double deadline = 0;  // chance per request to have a tight one
};

Cluster::Options Tight(uint64_t seed, const Storm& storm) {
  Cluster::Options options = Cluster::Defaults();
  options.prefills = options.decodes = 2;
  options.seed = seed;
  options.policy = seed % 2 == 0 ? "round_robin" : "power_of_two";
  const int page = options.prefill.runner.page_tokens;
  const auto pages = [page](int tokens) { return (tokens + page - 1) / page; };
  options.prefill.runner.page_count = pages(kMaxPrompt) * 3 / 2;
  options.decode.runner.page_count = pages(kMaxPrompt + kMaxTokens) * 3 / 2;
  options.prefill.max_queue = options.decode.max_queue = 3;
  options.prefill.prefix_cache = options.decode.prefix_cache = seed % 3 != 0;
  options.prefill.faults = storm.faults;
  return options;
}

class Walk {
 public:
  Walk(uint64_t seed, const Storm& storm)
      : storm_(storm), rng_(seed), cluster_(Tight(seed, storm)) {}

  // All requests, to their end.
  void Run() {
    while (ended_ < kRequests && !::testing::Test::HasFatalFailure()) {
      while (live_.size() < kLive && sent_ < kRequests) Send();
      Move();
      Collect();
    }
  }

  // What is under way ends; then nothing is held anywhere.
  void ExpectQuiet() {
    for (int i = 0; i < 60 && !cluster_.idle(); ++i) cluster_.Pass(seconds(1));
    EXPECT_TRUE(cluster_.idle());
  }

  Cluster& cluster() { return cluster_; }
  int64_t steps() const { return steps_; }
  const std::map<StatusCode, int>& ends() const { return ends_; }
  uint32_t most_attempts() const { return most_attempts_; }
  Duration elapsed() const { return cluster_.wires.clock.Now() - start_; }

 private:
  struct Live {
    std::shared_ptr<ClientCall> call;
    TimePoint deadline;
    bool cancelled = false;
  };

  bool Chance(double p) { return std::bernoulli_distribution(p)(rng_); }
  int Between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }

  void Send() {
    v1::GenerateRequest request = Cluster::Request(
        Between(1, kMaxPrompt), static_cast<uint32_t>(Between(1, kMaxTokens)), Between(0, 3));
    request.set_request_id(fmt::format("r{}", sent_++));
    if (Chance(0.2)) request.add_stop_token_ids(Between(0, 999));
    if (Chance(0.2)) request.add_stop(fmt::format("{}][", Between(0, 9)));
    if (Chance(0.3)) request.set_tenant("t");
    const bool tight = Chance(storm_.deadline);
    const TimePoint deadline =
        cluster_.wires.clock.Now() + (tight ? milliseconds(Between(1, 3000)) : seconds(120));
    live_.push_back({cluster_.Send(std::move(request), deadline), deadline});
  }

  void Move() {
    Disturb();
    if (cluster_.Step(rng_)) {
      ++steps_;
      idle_draws_ = 0;
    } else if (++idle_draws_ > 60) {
      // Nothing moves but time.
      cluster_.Advance(milliseconds(100));
      idle_draws_ = 0;
    }
    if (Chance(0.01)) cluster_.Advance(milliseconds(Between(1, 10)));
    cluster_.CheckInvariants();
  }

  void Disturb() {
    if (!live_.empty() && Chance(storm_.cancel)) {
      Live& live = live_[static_cast<size_t>(Between(0, static_cast<int>(live_.size()) - 1))];
      live.call->stream.reset();
      live.cancelled = true;
    }
    if (Chance(storm_.kill)) {
      const std::string id = fmt::format("{}{}", Chance(0.5) ? "p" : "d", Between(0, 1));
      cluster_.Kill(id);
      cluster_.Start(id);
    }
    if (Chance(storm_.cut)) cluster_.BreakHandoff(fmt::format("d{}", Between(0, 1)));
  }

  void Collect() {
    const TimePoint now = cluster_.wires.clock.Now();
    for (const Live& live : live_) {
      ASSERT_LE(now, live.deadline + seconds(5)) << live.call->request.request_id();
      if (!live.call->ended()) continue;
      ++ends_[live.call->code()];
      if (!live.call->completed()) continue;
      most_attempts_ = std::max(most_attempts_, live.call->complete().attempts());
      if (live.call->complete().finish_reason() == v1::FINISH_REASON_LENGTH) {
        EXPECT_EQ(live.call->tokens.size(), live.call->request.max_tokens());
      }
    }
    const size_t before = live_.size();
    std::erase_if(live_, [](const Live& live) { return live.cancelled || live.call->ended(); });
    ended_ += static_cast<int>(before - live_.size());
  }

  const Storm storm_;
  std::mt19937_64 rng_;
  Cluster cluster_;
  const TimePoint start_ = cluster_.wires.clock.Now();
  std::vector<Live> live_;
  int sent_ = 0;
  int ended_ = 0;
  int idle_draws_ = 0;
  int64_t steps_ = 0;
  std::map<StatusCode, int> ends_;
  uint32_t most_attempts_ = 0;
};

void Report(uint64_t seed, const Walk& walk) {
  std::string ends;
  for (const auto& [code, count] : walk.ends()) {
    ends += fmt::format(" {}={}", absl::StatusCodeToString(code), count);
  }
  fmt::print("seed {}: {} steps, {:.1f} s, most attempts {},{}\n", seed, walk.steps(),
             Seconds(walk.elapsed()), walk.most_attempts(), ends);
}

class CalmWalkTest : public ::testing::TestWithParam<uint64_t> {};

// Slabs only arrive late, out of order or twice: nothing is lost, so every request completes, and
// before any lease could expire.
TEST_P(CalmWalkTest, EveryRequestCompletesWithoutALeaseExpiring) {
  const uint64_t seed = GetParam();
  Walk walk(seed, Storm{.faults = {.hold = 0.2, .duplicate = 0.1}});
  walk.Run();
  Report(seed, walk);
  EXPECT_GE(walk.steps(), kMinSteps);
  EXPECT_EQ(walk.ends(), (std::map<StatusCode, int>{{StatusCode::kOk, kRequests}}));
  EXPECT_LT(Seconds(walk.elapsed()), 20);
  walk.ExpectQuiet();
}

INSTANTIATE_TEST_SUITE_P(Seeds, CalmWalkTest, ::testing::Range(uint64_t{1}, uint64_t{17}));

class StormyWalkTest : public ::testing::TestWithParam<uint64_t> {};

// Everything goes wrong now and then: every request still ends once, in time and with a reason that
// fits, and nothing is held at the end.
TEST_P(StormyWalkTest, EveryRequestEndsOnceAndNothingIsHeld) {
  const uint64_t seed = GetParam();
  Walk walk(seed, Storm{.faults = {.drop = 0.01,
                                   .hold = 0.1,
                                   .duplicate = 0.05,
                                   .truncate = 0.01,
                                   .corrupt_payload = 0.01,
                                   .corrupt_header = 0.01,
                                   .cut = 0.01},
                        .cancel = 0.001,
                        .kill = 0.0003,
                        .cut = 0.0005,
                        .deadline = 0.1});
  walk.Run();
  Report(seed, walk);
  EXPECT_GE(walk.steps(), kMinSteps);
  const std::set<StatusCode> expected = {StatusCode::kOk, StatusCode::kUnavailable,
                                         StatusCode::kDataLoss, StatusCode::kDeadlineExceeded};
  for (const auto& [code, count] : walk.ends()) {
    EXPECT_TRUE(expected.contains(code)) << absl::StatusCodeToString(code);
  }
  walk.ExpectQuiet();
}

INSTANTIATE_TEST_SUITE_P(Seeds, StormyWalkTest, ::testing::Range(uint64_t{1}, uint64_t{33}));

}  // namespace
}  // namespace baton
