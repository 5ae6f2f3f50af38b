#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"

namespace baton {

// Tensors of one kind that are stored alike.
struct TensorGroup {
  std::string name;    // "q_proj", "embedding", "norms and biases"
  std::string stored;  // "bf16", "int4 asymmetric, groups of 128; inputs int8 per token"
  int tensors = 0;
  int64_t parameters = 0;
  double bits = 0;  // of all of them, scales and zero points included
};

// What a model folder holds, as `baton inspect` tells it.
struct ModelReport {
  std::string folder;
  ModelConfig config;
  std::string quantization;         // name of the checkpoint's format, "none"
  std::vector<std::string> notes;   // what the checkpoint asks for and is met in another manner
  std::vector<TensorGroup> groups;  // in order of first appearance
  Digest digest;                    // of these weights
  std::optional<Digest> base;       // of the unquantized model, where known
  std::optional<Digest> source;     // of the base and the cache's basis: what a pair must share
  std::optional<Digest> tokenizer;  // of tokenizer.json, where there is one

  int64_t parameters() const;
  double bits() const;
};

// Reads every tensor once; holds one matrix at a time. Errors name the tensor.
absl::StatusOr<ModelReport> InspectModel(const std::string& folder);

// Bytes of cache that one token takes in pages of the format, and on the wire but for padding.
struct KvCost {
  std::string format;
  int64_t bytes_per_token = 0;
};
std::vector<KvCost> KvCosts(const ModelConfig& config);

// Hexadecimal, or `otherwise` where there is none.
std::string DigestText(const std::optional<Digest>& digest, std::string_view otherwise);

// "theta 10000", "theta 500000, llama3 scaling by 8".
std::string RopeText(const RopeConfig& rope);

nlohmann::ordered_json ReportJson(const ModelReport& report);
std::string ReportText(const ModelReport& report);

}  // namespace baton
