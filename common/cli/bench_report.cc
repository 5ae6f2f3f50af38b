#include "common/cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

namespace baton {
namespace {

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Deviation(const std::vector<double>& values) {
  if (values.empty()) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

void AddDistribution(const std::string& name, const std::vector<double>& values,
                     nlohmann::ordered_json& out) {
  out["mean_" + name + "_ms"] = Mean(values);
  out["median_" + name + "_ms"] = Percentile(values, 50);
  out["std_" + name + "_ms"] = Deviation(values);
  out["p90_" + name + "_ms"] = Percentile(values, 90);
  out["p99_" + name + "_ms"] = Percentile(values, 99);
}

std::optional<double> Tpot(const RequestRecord& record) {
  if (record.output_tokens < 2) return std::nullopt;
  return (record.e2e_ms - record.ttft_ms) / (record.output_tokens - 1);
}

bool IsGood(const RequestRecord& record, const GoodputLimits& limits) {
  if (!record.ok) return false;
  if (limits.ttft_ms && record.ttft_ms > *limits.ttft_ms) return false;
  return !limits.tpot_ms || Tpot(record).value_or(0) <= *limits.tpot_ms;
}

}  // namespace

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = p / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (rank - static_cast<double>(below)) * (values[above] - values[below]);
}

nlohmann::ordered_json SummarizeBench(const std::vector<RequestRecord>& records,
                                      double duration_seconds, const GoodputLimits& limits) {
  int64_t completed = 0, good = 0, input = 0, output = 0;
  std::vector<double> ttft, tpot, itl, e2el;
  std::map<std::string, int> errors;
  for (const RequestRecord& record : records) {
    if (!record.ok) {
      ++errors[record.error];
      continue;
    }
    ++completed;
    good += IsGood(record, limits) ? 1 : 0;
    input += record.prompt_tokens;
    output += record.output_tokens;
    ttft.push_back(record.ttft_ms);
    e2el.push_back(record.e2e_ms);
    if (auto value = Tpot(record)) tpot.push_back(*value);
    itl.insert(itl.end(), record.itl_ms.begin(), record.itl_ms.end());
  }
  const double seconds = std::max(duration_seconds, 1e-9);
  nlohmann::ordered_json out;
  out["duration"] = duration_seconds;
  out["completed"] = completed;
  out["failed"] = static_cast<int64_t>(records.size()) - completed;
  out["total_input_tokens"] = input;
  out["total_output_tokens"] = output;
  out["request_throughput"] = static_cast<double>(completed) / seconds;
  if (limits.ttft_ms || limits.tpot_ms) {
    out["request_goodput"] = static_cast<double>(good) / seconds;
  } else {
    out["request_goodput"] = nullptr;
  }
  out["output_throughput"] = static_cast<double>(output) / seconds;
  out["total_token_throughput"] = static_cast<double>(input + output) / seconds;
  AddDistribution("ttft", ttft, out);
  AddDistribution("tpot", tpot, out);
  AddDistribution("itl", itl, out);
  AddDistribution("e2el", e2el, out);
  out["errors"] = errors;
  return out;
}

std::string FormatBench(const nlohmann::ordered_json& summary) {
  std::string text = fmt::format(
      "requests        {} completed, {} failed in {:.2f} s\n"
      "throughput      {:.2f} requests/s, {:.1f} output tokens/s, {:.1f} tokens/s\n",
      summary["completed"].get<int64_t>(), summary["failed"].get<int64_t>(),
      summary["duration"].get<double>(), summary["request_throughput"].get<double>(),
      summary["output_throughput"].get<double>(), summary["total_token_throughput"].get<double>());
  if (!summary["request_goodput"].is_null()) {
    fmt::format_to(std::back_inserter(text), "goodput         {:.2f} requests/s\n",
                   summary["request_goodput"].get<double>());
  }
  fmt::format_to(std::back_inserter(text), "{:<10}{:>12}{:>12}{:>12}{:>12}\n", "ms", "mean",
                 "median", "p90", "p99");
  for (const std::string name : {"ttft", "tpot", "itl", "e2el"}) {
    fmt::format_to(std::back_inserter(text), "{:<10}", name);
    for (const std::string statistic : {"mean", "median", "p90", "p99"}) {
      fmt::format_to(std::back_inserter(text), "{:>12.2f}",
                     summary[statistic + "_" + name + "_ms"].get<double>());
    }
    text += "\n";
  }
  for (const auto& [error, count] : summary["errors"].items()) {
    fmt::format_to(std::back_inserter(text), "failed {} times: {}\n", count.get<int>(), error);
  }
  return text;
}

}  // namespace baton
