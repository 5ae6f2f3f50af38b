#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/metrics/registry.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace baton {

// Serves a registry at http://<listen>/metrics in the Prometheus text format until destroyed.
class PrometheusExporter {
 public:
  // `listen`: "host:port"; port 0 lets the system choose. UNAVAILABLE when it cannot be bound. The
  // registry is lent and must outlive the exporter.
  static absl::StatusOr<std::unique_ptr<PrometheusExporter>> Create(const std::string& listen,
                                                                    const MetricRegistry& registry);
  ~PrometheusExporter();

  int port() const { return port_; }

 private:
  PrometheusExporter(std::unique_ptr<prometheus::Exposer> exposer,
                     std::shared_ptr<prometheus::Collectable> source, int port);

  const std::shared_ptr<prometheus::Collectable> source_;
  const std::unique_ptr<prometheus::Exposer> exposer_;
  const int port_;
};

}  // namespace baton
