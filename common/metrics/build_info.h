#pragma once

#include "common/metrics/registry.h"

namespace baton {

// Adds the metric that tells which version of Baton reports.
void ReportBuildInfo(MetricRegistry& registry);

}  // namespace baton
