#include "common/metrics/registry.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace baton {
namespace {

bool IsWord(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

template <typename T>
void AppendPoints(const std::map<MetricLabels, std::unique_ptr<T>>& metrics,
                  std::vector<MetricSample::Point>& points) {
  for (const auto& [labels, metric] : metrics) {
    MetricSample::Point point{.labels = labels};
    if constexpr (std::is_same_v<T, Histogram>) {
      point.counts = metric->counts();
      point.sum = metric->sum();
    } else {
      point.value = static_cast<double>(metric->value());
    }
    points.push_back(std::move(point));
  }
}

template <typename T, typename... Args>
T& FindOrAdd(std::map<MetricLabels, std::unique_ptr<T>>& metrics, MetricLabels labels,
             Args&&... args) {
  std::unique_ptr<T>& metric = metrics[std::move(labels)];
  if (!metric) metric = std::make_unique<T>(std::forward<Args>(args)...);
  return *metric;
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {
  BATON_CHECK(!bounds_.empty() && std::isfinite(bounds_.front()) && std::isfinite(bounds_.back()));
  BATON_CHECK(std::adjacent_find(bounds_.begin(), bounds_.end(), std::greater_equal<>()) ==
              bounds_.end());
}

void Histogram::Observe(double value) {
  if (std::isnan(value)) return;
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::counts() const {
  std::vector<uint64_t> counts;
  counts.reserve(counts_.size());
  for (const auto& count : counts_) counts.push_back(count.load(std::memory_order_relaxed));
  return counts;
}

Counter& MetricRegistry::GetCounter(const MetricName& name, MetricLabels labels) {
  labels = Complete(std::move(labels));
  std::lock_guard lock(mutex_);
  return FindOrAdd(FamilyLocked(name, MetricSample::Kind::kCounter, {}).counters,
                   std::move(labels));
}

Gauge& MetricRegistry::GetGauge(const MetricName& name, MetricLabels labels) {
  labels = Complete(std::move(labels));
  std::lock_guard lock(mutex_);
  return FindOrAdd(FamilyLocked(name, MetricSample::Kind::kGauge, {}).gauges, std::move(labels));
}

Histogram& MetricRegistry::GetHistogram(const MetricName& name, std::span<const double> bounds,
                                        MetricLabels labels) {
  labels = Complete(std::move(labels));
  std::lock_guard lock(mutex_);
  return FindOrAdd(FamilyLocked(name, MetricSample::Kind::kHistogram, bounds).histograms,
                   std::move(labels), bounds);
}

std::vector<MetricSample> MetricRegistry::Collect() const {
  std::vector<MetricSample> samples;
  std::lock_guard lock(mutex_);
  for (const auto& [name, family] : families_) {
    MetricSample sample{name, family.help, family.kind, family.bounds, {}};
    AppendPoints(family.counters, sample.points);
    AppendPoints(family.gauges, sample.points);
    AppendPoints(family.histograms, sample.points);
    samples.push_back(std::move(sample));
  }
  return samples;
}

MetricRegistry::Family& MetricRegistry::FamilyLocked(const MetricName& name,
                                                     MetricSample::Kind kind,
                                                     std::span<const double> bounds) {
  auto it = families_.find(name.name);
  if (it == families_.end()) {
    BATON_CHECK(IsWord(name.name));
    Family family{.help = std::string(name.help),
                  .kind = kind,
                  .bounds = std::vector<double>(bounds.begin(), bounds.end())};
    it = families_.emplace(std::string(name.name), std::move(family)).first;
  }
  BATON_CHECK(it->second.kind == kind);
  BATON_CHECK(
      std::equal(bounds.begin(), bounds.end(), it->second.bounds.begin(), it->second.bounds.end()));
  return it->second;
}

MetricLabels MetricRegistry::Complete(MetricLabels labels) const {
  labels.insert(labels.end(), common_.begin(), common_.end());
  std::sort(labels.begin(), labels.end());
  for (size_t i = 0; i < labels.size(); ++i) {
    BATON_CHECK(IsWord(labels[i].first));
    BATON_CHECK(i == 0 || labels[i].first != labels[i - 1].first);
  }
  return labels;
}

}  // namespace baton
