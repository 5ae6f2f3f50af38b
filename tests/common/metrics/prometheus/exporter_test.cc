#include "common/metrics/prometheus/exporter.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/status.h"

namespace baton {
namespace {

using testing::HasSubstr;

// The whole answer to GET /metrics; empty when nothing listens.
std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) answer.append(buffer, n);
  }
  close(fd);
  return answer;
}

TEST(PrometheusExporter, ServesTheRegistry) {
  MetricRegistry registry(MetricLabels{{"role", "router"}});
  registry.GetCounter({"baton_requests_total", "Requests"}, {{"code", "OK"}}).Add(7);
  registry.GetGauge({"baton_queue_depth", "Depth"}).Set(2.5);
  const double bounds[] = {0.1, 1};
  Histogram& histogram = registry.GetHistogram({"baton_ttft_seconds", "Time"}, bounds);
  for (double value : {0.05, 0.5, 0.5, 5.0}) histogram.Observe(value);
  auto exporter = PrometheusExporter::Create("127.0.0.1:0", registry);
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  ASSERT_GT((*exporter)->port(), 0);
  const std::string text = Scrape((*exporter)->port());
  EXPECT_THAT(text, HasSubstr("# TYPE baton_requests_total counter"));
  EXPECT_THAT(text, HasSubstr("baton_requests_total{code=\"OK\",role=\"router\"} 7"));
  EXPECT_THAT(text, HasSubstr("baton_queue_depth{role=\"router\"} 2.5"));
  EXPECT_THAT(text, HasSubstr("baton_ttft_seconds_count{role=\"router\"} 4"));
  EXPECT_THAT(text, HasSubstr("baton_ttft_seconds_bucket{role=\"router\",le=\"1\"} 3"));
  EXPECT_THAT(text, HasSubstr("baton_ttft_seconds_bucket{role=\"router\",le=\"+Inf\"} 4"));
  registry.GetCounter({"baton_requests_total", "Requests"}, {{"code", "OK"}}).Add(1);
  EXPECT_THAT(Scrape((*exporter)->port()), HasSubstr("code=\"OK\",role=\"router\"} 8"));
}

TEST(PrometheusExporter, ATakenOrOddAddressIsAnError) {
  MetricRegistry registry;
  auto exporter = PrometheusExporter::Create("127.0.0.1:0", registry);
  ASSERT_TRUE(exporter.ok());
  const std::string taken = "127.0.0.1:" + std::to_string((*exporter)->port());
  for (const std::string& listen : {taken, std::string("not an address")}) {
    const auto second = PrometheusExporter::Create(listen, registry);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(MessageOf(second.status())), HasSubstr(listen));
  }
}

}  // namespace
}  // namespace baton
