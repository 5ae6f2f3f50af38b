#include "common/metrics/prometheus/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <exception>
#include <limits>
#include <utility>
#include <vector>

#include "common/base/status.h"

namespace baton {
namespace {

prometheus::MetricType TypeOf(MetricSample::Kind kind) {
  switch (kind) {
    case MetricSample::Kind::kCounter:
      return prometheus::MetricType::Counter;
    case MetricSample::Kind::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricSample::Kind::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

void FillHistogram(const MetricSample& sample, const MetricSample::Point& point,
                   prometheus::ClientMetric::Histogram& out) {
  uint64_t cumulative = 0;
  for (size_t i = 0; i < point.counts.size(); ++i) {
    cumulative += point.counts[i];
    const double bound =
        i < sample.bounds.size() ? sample.bounds[i] : std::numeric_limits<double>::infinity();
    out.bucket.push_back({cumulative, bound});
  }
  out.sample_count = cumulative;
  out.sample_sum = point.sum;
}

prometheus::MetricFamily ToFamily(const MetricSample& sample) {
  prometheus::MetricFamily family;
  family.name = sample.name;
  family.help = sample.help;
  family.type = TypeOf(sample.kind);
  for (const MetricSample::Point& point : sample.points) {
    prometheus::ClientMetric metric;
    for (const auto& [name, value] : point.labels) metric.label.push_back({name, value});
    metric.counter.value = point.value;
    metric.gauge.value = point.value;
    if (sample.kind == MetricSample::Kind::kHistogram) {
      FillHistogram(sample, point, metric.histogram);
    }
    family.metric.push_back(std::move(metric));
  }
  return family;
}

class Source final : public prometheus::Collectable {
 public:
  explicit Source(const MetricRegistry& registry) : registry_(registry) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    for (const MetricSample& sample : registry_.Collect()) families.push_back(ToFamily(sample));
    return families;
  }

 private:
  const MetricRegistry& registry_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PrometheusExporter>> PrometheusExporter::Create(
    const std::string& listen, const MetricRegistry& registry) {
  auto source = std::make_shared<Source>(registry);
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(listen, /*num_threads=*/1);
    exposer->RegisterCollectable(source);
    const std::vector<int> ports = exposer->GetListeningPorts();
    if (ports.empty()) return Unavailable("metrics: '{}' gave no port", listen);
    return std::unique_ptr<PrometheusExporter>(
        new PrometheusExporter(std::move(exposer), std::move(source), ports.front()));
  } catch (const std::exception& error) {
    return Unavailable("metrics: '{}' cannot be bound: {}", listen, error.what());
  }
}

PrometheusExporter::PrometheusExporter(std::unique_ptr<prometheus::Exposer> exposer,
                                       std::shared_ptr<prometheus::Collectable> source, int port)
    : source_(std::move(source)), exposer_(std::move(exposer)), port_(port) {}

PrometheusExporter::~PrometheusExporter() = default;

}  // namespace baton
