// What operators see: health and metrics, as probes and Prometheus ask for them.
#include "tests/net_cluster/observe.h"

#include <grpcpp/support/status_code_enum.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/status.h"
#include "common/metrics/names.h"
#include "tests/net_cluster/net_cluster.h"

namespace baton {
namespace {

constexpr int kServing = 1;
constexpr int kNotServing = 2;

TEST(NetObserveTest, HealthTellsLifeAndReadinessApart) {
  NetCluster cluster;
  EXPECT_EQ(CheckHealth(cluster.router().endpoint(), "liveness"), kServing);
  EXPECT_EQ(CheckHealth(cluster.router().endpoint(), "readiness"), kServing);
  EXPECT_EQ(CheckHealth(cluster.router().endpoint(), "other"), -grpc::NOT_FOUND);
  for (WorkerHost* worker : cluster.workers()) {
    SCOPED_TRACE(worker->id());
    EXPECT_EQ(CheckHealth(worker->endpoint(), "liveness"), kServing);
    // The router may know a worker before the worker looks at its own readiness.
    const auto deadline = worker->clock.Now() + std::chrono::seconds(60);
    int health = 0;
    while ((health = CheckHealth(worker->endpoint(), "readiness")) != kServing &&
           worker->clock.Now() < deadline) {
    }
    EXPECT_EQ(health, kServing);
  }
  // A draining worker is alive and not ready.
  cluster.GatePrefill(true);
  NetCall& call = cluster.Send(NetCluster::Request(60, 4));
  PrefillHost& draining = cluster.AwaitPrefillStep();
  draining.RequestStop(1);
  draining.thread.Run([] {});
  EXPECT_EQ(CheckHealth(draining.endpoint(), "liveness"), kServing);
  EXPECT_EQ(CheckHealth(draining.endpoint(), "readiness"), kNotServing);
  draining.runner.OpenGate();
  EXPECT_TRUE(call.AwaitEnd());
  EXPECT_TRUE(call.result().completed());
}

TEST(NetObserveTest, ARouterWithoutWorkersIsAliveAndNotReady) {
  RouterHost router({});
  EXPECT_EQ(CheckHealth(router.endpoint(), "liveness"), kServing);
  EXPECT_EQ(CheckHealth(router.endpoint(), "readiness"), kNotServing);
}

class NetMetricsTest : public ::testing::Test {
 protected:
  static NetCluster::Options OneAndOne() {
    NetCluster::Options options = NetCluster::Defaults();
    options.prefills = options.decodes = 1;
    return options;
  }
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      const ClientCall& call = cluster_.Ask(NetCluster::Request(100, 10, i));
      ASSERT_TRUE(call.completed()) << *call.end_;
    }
    v1::GenerateRequest bad = NetCluster::Request(10, 10);
    bad.set_top_p(7);
    ASSERT_EQ(cluster_.Ask(bad).code(), absl::StatusCode::kInvalidArgument);
    cluster_.ExpectQuiet();
  }

  // Scrapes until `sample` has the value: gauges follow at the next tick.
  static std::string ScrapeUntil(int port, const std::string& sample, double value) {
    const RealClock clock;
    const TimePoint deadline = clock.Now() + std::chrono::seconds(60);
    std::string body;
    do {
      body = Scrape(port);
    } while (ValueOf(body, sample) != value && clock.Now() < deadline);
    return body;
  }
  static std::string ScrapeUntil(int port, const MetricName& metric, double value) {
    return ScrapeUntil(port, std::string(metric.name), value);
  }
  static void ExpectMoved(const std::string& body, std::initializer_list<std::string> metrics) {
    for (const std::string& metric : metrics) {
      EXPECT_GT(ValueOf(body, "baton_" + metric), 0) << metric;
    }
  }
  static void ExpectZero(const std::string& body, std::initializer_list<std::string> metrics) {
    for (const std::string& metric : metrics) {
      EXPECT_EQ(ValueOf(body, "baton_" + metric), 0) << metric;
    }
  }
  // Every sample tells the role and the model it belongs to.
  static void ExpectLabels(const std::string& body, const std::string& role) {
    std::istringstream lines(body);
    int samples = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("baton_")) continue;
      ++samples;
      EXPECT_NE(line.find("role=\"" + role + "\""), std::string::npos) << line;
      EXPECT_NE(line.find("model=\"fake\""), std::string::npos) << line;
    }
    EXPECT_GT(samples, 10);
  }

  NetCluster cluster_{OneAndOne()};
};

TEST_F(NetMetricsTest, OfTheRouter) {
  const std::string body = ScrapeUntil(cluster_.router().metrics_port(), metric::kWorkers, 2);
  ExpectLabels(body, "router");
  EXPECT_EQ(ValueOf(body, "baton_requests_total", "code=\"OK\""), 3);
  EXPECT_EQ(ValueOf(body, "baton_requests_total", "code=\"INVALID_ARGUMENT\""), 1);
  EXPECT_EQ(ValueOf(body, "baton_request_errors_total", "reason=\"request\""), 1);
  EXPECT_EQ(ValueOf(body, "baton_prompt_tokens_total"), 300);
  EXPECT_EQ(ValueOf(body, "baton_generated_tokens_total"), 30);
  EXPECT_EQ(ValueOf(body, "baton_ttft_seconds_count"), 3);
  EXPECT_EQ(ValueOf(body, "baton_e2e_seconds_count"), 3);
  EXPECT_EQ(ValueOf(body, "baton_itl_seconds_count"), 27);
  EXPECT_EQ(ValueOf(body, "baton_tpot_seconds_count"), 3);
  EXPECT_EQ(ValueOf(body, "baton_workers", "worker_role=\"decode\""), 1);
  ExpectMoved(body, {"ttft_seconds_sum", "e2e_seconds_sum", "queue_time_seconds_count",
                     "prefill_time_seconds_count", "build_info"});
  ExpectZero(body, {"queue_depth", "queued_prompt_tokens", "retries_total", "cancellations_total"});
}

TEST_F(NetMetricsTest, OfThePrefillWorker) {
  const std::string body = ScrapeUntil(cluster_.p(0).metrics_port(), metric::kKvBlocksUsed, 0);
  ExpectLabels(body, "prefill");
  EXPECT_EQ(ValueOf(body, "baton_requests_total", "code=\"OK\""), 3);
  EXPECT_EQ(ValueOf(body, "baton_prompt_tokens_total"), 300);
  // A decode worker that has finished before its Committed was read here makes the router end the
  // request on this side too; that transfer's end is then not seen.
  // TransfersAreCountedWhereTheyStart has a decode worker that waits.
  EXPECT_LE(ValueOf(body, "baton_kv_transfer_seconds_count"), 3);
  EXPECT_EQ(ValueOf(body, "baton_kv_blocks_free"), 64);
  ExpectMoved(body,
              {"kv_transfer_bytes_total", "queue_time_seconds_count", "prefill_time_seconds_count",
               "step_seconds_count", "batch_size_count", "batch_tokens_sum", "build_info"});
  ExpectZero(body, {"queue_depth", "queued_prompt_tokens", "kv_blocks_pending_transfer",
                    "kv_usage_ratio", "kv_leases_expired_total"});
}

TEST_F(NetMetricsTest, TransfersAreCountedWhereTheyStart) {
  const std::string count = "baton_kv_transfer_seconds_count";
  const int port = cluster_.p(0).metrics_port();
  double expected = ValueOf(Scrape(port), count);
  for (int i = 0; i < 3; ++i) {
    cluster_.d(0).runner.CloseGate();
    NetCall& call = cluster_.Send(NetCluster::Request(100, 10, 3 + i));
    EXPECT_EQ(ValueOf(ScrapeUntil(port, count, ++expected), count), expected);
    cluster_.d(0).runner.OpenGate();
    EXPECT_TRUE(call.AwaitEnd());
    EXPECT_TRUE(call.result().completed());
  }
}

TEST_F(NetMetricsTest, OfTheDecodeWorker) {
  const std::string body = ScrapeUntil(cluster_.d(0).metrics_port(), metric::kKvBlocksUsed, 0);
  ExpectLabels(body, "decode");
  EXPECT_EQ(ValueOf(body, "baton_requests_total", "code=\"OK\""), 3);
  EXPECT_EQ(ValueOf(body, "baton_generated_tokens_total"), 27);
  EXPECT_EQ(ValueOf(body, "baton_kv_transfer_seconds_count"), 3);
  EXPECT_EQ(ValueOf(body, "baton_kv_blocks_free"), 64);
  ExpectMoved(body, {"kv_transfer_bytes_total", "queue_time_seconds_count", "step_seconds_count",
                     "batch_size_count", "batch_tokens_sum", "build_info"});
  ExpectZero(body, {"queue_depth", "queued_prompt_tokens", "kv_blocks_reserved", "kv_usage_ratio",
                    "kv_leases_expired_total", "kv_validation_failures_total"});
}

}  // namespace
}  // namespace baton
