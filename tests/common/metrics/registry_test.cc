#include "common/metrics/registry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

namespace baton {
namespace {

constexpr MetricName kA{"baton_a_total", "a"};
constexpr MetricName kB{"baton_b", "b"};
constexpr MetricName kC{"baton_c_seconds", "c"};

TEST(MetricRegistry, TheSameNameAndLabelsAreTheSameMetric) {
  MetricRegistry registry;
  Counter& first = registry.GetCounter(kA, {{"x", "1"}, {"y", "2"}});
  EXPECT_EQ(&registry.GetCounter(kA, {{"y", "2"}, {"x", "1"}}), &first);
  EXPECT_NE(&registry.GetCounter(kA, {{"x", "1"}}), &first);
}

TEST(MetricRegistry, CollectsSortedWithCommonLabels) {
  MetricRegistry registry(MetricLabels{{"role", "decode"}});
  registry.GetGauge(kB).Set(2.5);
  registry.GetGauge(kB).Add(-1);
  registry.GetCounter(kA, {{"code", "OK"}}).Add(3);
  registry.GetCounter(kA, {{"code", "ABORTED"}}).Add();
  const auto samples = registry.Collect();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].name, "baton_a_total");
  EXPECT_EQ(samples[0].kind, MetricSample::Kind::kCounter);
  ASSERT_EQ(samples[0].points.size(), 2u);
  EXPECT_EQ(samples[0].points[0].labels, (MetricLabels{{"code", "ABORTED"}, {"role", "decode"}}));
  EXPECT_EQ(samples[0].points[0].value, 1);
  EXPECT_EQ(samples[0].points[1].value, 3);
  EXPECT_EQ(samples[1].points[0].value, 1.5);
}

TEST(Histogram, ABoundBelongsToItsOwnBucket) {
  const double bounds[] = {1, 2, 4};
  Histogram histogram(bounds);
  for (double value : {-1.0, 1.0, 1.5, 2.0, 4.0, 4.5, std::numeric_limits<double>::infinity()}) {
    histogram.Observe(value);
  }
  EXPECT_EQ(histogram.counts(), (std::vector<uint64_t>{2, 2, 1, 2}));
}

TEST(Histogram, IgnoresNaN) {
  const double bounds[] = {1};
  Histogram histogram(bounds);
  histogram.Observe(std::nan(""));
  histogram.Observe(0.5);
  EXPECT_EQ(histogram.counts(), (std::vector<uint64_t>{1, 0}));
  EXPECT_EQ(histogram.sum(), 0.5);
}

TEST(MetricRegistry, UpdatesFromManyThreadsAreNotLost) {
  MetricRegistry registry;
  const double bounds[] = {0.5};
  constexpr int kThreads = 4, kRounds = 10'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Counter& counter = registry.GetCounter(kA);
      Histogram& histogram = registry.GetHistogram(kC, bounds);
      for (int i = 0; i < kRounds; ++i) {
        counter.Add();
        histogram.Observe(i % 2);
        registry.GetGauge(kB).Add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry.GetCounter(kA).value(), uint64_t{kThreads} * kRounds);
  EXPECT_EQ(registry.GetGauge(kB).value(), kThreads * kRounds);
  EXPECT_EQ(registry.GetHistogram(kC, bounds).counts(),
            (std::vector<uint64_t>{kThreads * kRounds / 2, kThreads * kRounds / 2}));
  EXPECT_EQ(registry.GetHistogram(kC, bounds).sum(), kThreads * kRounds / 2);
}

TEST(MetricRegistryDeathTest, OneNameHasOneKindAndOneSetOfBounds) {
  MetricRegistry registry;
  const double bounds[] = {1, 2}, other[] = {1, 3}, descending[] = {2, 1};
  registry.GetHistogram(kC, bounds);
  EXPECT_DEATH(registry.GetCounter(kC), "check failed");
  EXPECT_DEATH(registry.GetHistogram(kC, other), "check failed");
  EXPECT_DEATH(Histogram{descending}, "check failed");
  EXPECT_DEATH(registry.GetCounter({"baton-a", ""}), "check failed");
  EXPECT_DEATH(registry.GetCounter(kA, {{"x", "1"}, {"x", "2"}}), "check failed");
}

}  // namespace
}  // namespace baton
