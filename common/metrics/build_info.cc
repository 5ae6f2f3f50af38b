#include "common/metrics/build_info.h"

#include "common/metrics/names.h"

namespace baton {

void ReportBuildInfo(MetricRegistry& registry) {
  registry.GetGauge(metric::kBuildInfo, {{"version", BATON_VERSION}}).Set(1);
}

}  // namespace baton
