#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace baton {

// What a metric is called and means. All of them are listed in names.h.
struct MetricName {
  std::string_view name;  // "baton_…", base unit as suffix, "_total" for counters
  std::string_view help;
};

// Sorted by the registry. Values must come from a small set: never a request id.
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Only ever grows. Thread-safe, wait-free.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

// Goes up and down. Thread-safe.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double delta) { value_.fetch_add(delta, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

// Counts observations in buckets; a bucket holds what is at most its bound and above the one
// before, the last one everything else. Thread-safe; a snapshot taken during an Observe may miss it
// in the sum only.
class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds);  // ascending, finite, not empty
  void Observe(double value);                          // NaN is ignored

  const std::vector<double>& bounds() const { return bounds_; }
  std::vector<uint64_t> counts() const;  // [bounds + 1], not cumulative
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;
  std::atomic<double> sum_ = 0;
};

// What an exporter sees.
struct MetricSample {
  enum class Kind { kCounter, kGauge, kHistogram };
  struct Point {
    MetricLabels labels;
    double value = 0;              // counter, gauge
    std::vector<uint64_t> counts;  // histogram: [bounds + 1], not cumulative
    double sum = 0;                // histogram
  };
  std::string name;
  std::string help;
  Kind kind;
  std::vector<double> bounds;  // histogram
  std::vector<Point> points;
};

// Owns the metrics of one process (or of one node of a test process). Asking twice for the same
// name and labels gives the same object. References stay valid as long as the registry. One name
// has one kind and, for histograms, one set of bounds: anything else is a bug and ends the process.
// Thread-safe; look metrics up once and keep the reference.
class MetricRegistry {
 public:
  // `common` is added to the labels of every metric (role, worker, model).
  explicit MetricRegistry(MetricLabels common = {}) : common_(std::move(common)) {}

  Counter& GetCounter(const MetricName& name, MetricLabels labels = {});
  Gauge& GetGauge(const MetricName& name, MetricLabels labels = {});
  Histogram& GetHistogram(const MetricName& name, std::span<const double> bounds,
                          MetricLabels labels = {});

  std::vector<MetricSample> Collect() const;  // ascending by name, then by labels

 private:
  struct Family {
    std::string help;
    MetricSample::Kind kind;
    std::vector<double> bounds;
    std::map<MetricLabels, std::unique_ptr<Counter>> counters;
    std::map<MetricLabels, std::unique_ptr<Gauge>> gauges;
    std::map<MetricLabels, std::unique_ptr<Histogram>> histograms;
  };
  Family& FamilyLocked(const MetricName& name, MetricSample::Kind kind,
                       std::span<const double> bounds);
  MetricLabels Complete(MetricLabels labels) const;

  const MetricLabels common_;
  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;  // guarded by mutex_
};

}  // namespace baton
