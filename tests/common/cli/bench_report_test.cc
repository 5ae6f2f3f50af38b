#include "common/cli/bench_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace baton {
namespace {

RequestRecord Record(double ttft, double e2e, int tokens) {
  RequestRecord record;
  record.ok = true;
  record.prompt_tokens = 10;
  record.output_tokens = tokens;
  record.ttft_ms = ttft;
  record.e2e_ms = e2e;
  return record;
}

TEST(BenchReportTest, PercentileInterpolatesBetweenRanks) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({7}, 99), 7);
  EXPECT_DOUBLE_EQ(Percentile({4, 1, 3, 2}, 50), 2.5);
  EXPECT_DOUBLE_EQ(Percentile({0, 100}, 90), 90);
}

TEST(BenchReportTest, CountsFailuresAndGoodput) {
  RequestRecord failed;
  failed.error = "UNAVAILABLE: gone";
  const auto summary =
      SummarizeBench({Record(10, 110, 11), Record(50, 250, 11), failed}, 2.0, {20.0, 15.0});
  EXPECT_EQ(summary["completed"], 2);
  EXPECT_EQ(summary["failed"], 1);
  EXPECT_EQ(summary["total_output_tokens"], 22);
  EXPECT_DOUBLE_EQ(summary["request_goodput"], 0.5);
  EXPECT_DOUBLE_EQ(summary["median_tpot_ms"], 15.0);
  EXPECT_DOUBLE_EQ(summary["mean_ttft_ms"], 30.0);
  EXPECT_EQ(summary["errors"]["UNAVAILABLE: gone"], 1);
  EXPECT_NE(FormatBench(summary).find("2 completed, 1 failed"), std::string::npos);
}

TEST(BenchReportTest, HasTheKeysOfVllm) {
  const auto summary = SummarizeBench({}, 1.0, {});
  for (const char* key : {"completed", "failed", "request_throughput", "request_goodput",
                          "output_throughput", "total_token_throughput"}) {
    EXPECT_TRUE(summary.contains(key)) << key;
  }
  for (const std::string name : {"ttft", "tpot", "itl", "e2el"}) {
    for (const std::string statistic : {"mean", "median", "std", "p90", "p99"}) {
      EXPECT_TRUE(summary.contains(statistic + "_" + name + "_ms")) << statistic << name;
    }
  }
}

}  // namespace
}  // namespace baton
