#include "common/metrics/names.h"

#include <gtest/gtest.h>

#include <set>

namespace baton {
namespace {

constexpr MetricName kCounters[] = {metric::kRequests,
                                    metric::kRequestErrors,
                                    metric::kPromptTokens,
                                    metric::kGeneratedTokens,
                                    metric::kRetries,
                                    metric::kResumes,
                                    metric::kCancellations,
                                    metric::kKvTransferBytes,
                                    metric::kKvTransferFailures,
                                    metric::kKvLeasesExpired,
                                    metric::kKvValidationFailures,
                                    metric::kKvSlabsDropped,
                                    metric::kPrefixTokensReused};
constexpr MetricName kOthers[] = {metric::kRequestsInFlight,
                                  metric::kWorkers,
                                  metric::kQueueDepth,
                                  metric::kQueuedPromptTokens,
                                  metric::kQueueTime,
                                  metric::kPrefillTime,
                                  metric::kTimeToFirstToken,
                                  metric::kInterTokenLatency,
                                  metric::kTimePerOutputToken,
                                  metric::kEndToEnd,
                                  metric::kKvBlocksUsed,
                                  metric::kKvBlocksFree,
                                  metric::kKvBlocksReserved,
                                  metric::kKvBlocksPendingTransfer,
                                  metric::kKvUsage,
                                  metric::kKvTransferTime,
                                  metric::kBatchSize,
                                  metric::kBatchTokens,
                                  metric::kStepTime,
                                  metric::kBuildInfo};

TEST(MetricNames, HaveThePrefixTheSuffixAndNoDouble) {
  std::set<std::string_view> names;
  auto check = [&](const MetricName& name, bool counter) {
    EXPECT_TRUE(name.name.starts_with("baton_")) << name.name;
    EXPECT_EQ(name.name.ends_with("_total"), counter) << name.name;
    EXPECT_FALSE(name.help.empty()) << name.name;
    EXPECT_TRUE(names.insert(name.name).second) << name.name;
  };
  for (const MetricName& name : kCounters) check(name, true);
  for (const MetricName& name : kOthers) check(name, false);
}

TEST(MetricNames, BucketsMakeHistograms) {
  MetricRegistry registry;
  registry.GetHistogram(metric::kTimeToFirstToken, metric::kLatencyBounds).Observe(0.03);
  registry.GetHistogram(metric::kStepTime, metric::kStepBounds).Observe(0.03);
  registry.GetHistogram(metric::kBatchSize, metric::kSizeBounds).Observe(3);
  EXPECT_EQ(registry.Collect().size(), 3u);
}

}  // namespace
}  // namespace baton
