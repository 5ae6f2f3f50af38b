#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace baton {

// What the client saw of one request. Times in milliseconds from its start.
struct RequestRecord {
  bool ok = false;
  std::string error;  // "CODE: message" when not ok
  int prompt_tokens = 0;
  int output_tokens = 0;
  double ttft_ms = 0;          // to the first token
  double e2e_ms = 0;           // to the last token
  std::vector<double> itl_ms;  // gaps between consecutive messages with tokens
};

// A request is good when it meets every limit given.
struct GoodputLimits {
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
};

// The p-th percentile (0..100) with linear interpolation between ranks; 0 when empty.
double Percentile(std::vector<double> values, double p);

// Summary with the keys of `vllm bench serve`. tpot = (e2e − ttft) / (output − 1), over requests of
// at least two tokens.
nlohmann::ordered_json SummarizeBench(const std::vector<RequestRecord>& records,
                                      double duration_seconds, const GoodputLimits& limits);

// The same as an aligned text table.
std::string FormatBench(const nlohmann::ordered_json& summary);

}  // namespace baton
