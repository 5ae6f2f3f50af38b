#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace baton {

// What `baton quantize` and `baton quantize pair` share.
struct QuantizeCommonOptions {
  std::string model;        // folder of the unquantized model
  std::string out;          // folder to make
  std::string calibration;  // .jsonl with "text", or plain text
  int samples = 128;        // sequences
  int window = 512;         // tokens of a sequence
  std::optional<double> damping;
  std::optional<float> alpha;
  std::optional<bool> smooth_kv;
  bool resume = false;
  int threads = 0;  // 0 = all cores
};

// `baton quantize`: one checkpoint.
struct QuantizeOptions {
  QuantizeCommonOptions common;
  std::string scheme;
  std::string algorithm = "auto";
  std::optional<int> group;
  std::optional<bool> symmetric;
  std::optional<double> bits;
};
absl::Status RunQuantize(const QuantizeOptions& options);

// `baton quantize pair`: the checkpoints of both roles, OUT/prefill and OUT/decode.
struct QuantizePairOptions {
  QuantizeCommonOptions common;
  std::string prefill_scheme = "w8a8";
  // Absent: w4a16, or with `decode_batch` what the measurement recommends.
  std::optional<std::string> decode_scheme;
  std::optional<int> decode_batch;  // sequences decoded together, expected
  std::string prefill_algorithm = "auto";
  std::string decode_algorithm = "auto";
  std::optional<double> prefill_bits;  // mean bits per weight, as QuantizeOptions::bits
  std::optional<double> decode_bits;
};
absl::Status RunQuantizePair(const QuantizePairOptions& options);

}  // namespace baton
