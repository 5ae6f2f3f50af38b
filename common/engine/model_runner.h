#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kv_page/kv_format.h"
#include "kernels/kv_page/layout.h"
#include "kernels/sampling/sampling.h"

namespace baton {

// How one token is chosen (numbers.md, "Random numbers"). Neutral values switch a filter off.
struct SamplingParams {
  float temperature = 1.0f;  // 0 = greedy
  float top_p = 1.0f;        // (0, 1]
  int top_k = 0;             // 0 = off
  float min_p = 0.0f;        // [0, 1]
  uint64_t seed = 0;
  bool want_logprob = false;  // of the chosen token
  int top_logprobs = 0;       // how many of the most probable tokens to report
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::shared_ptr<const std::vector<kernels::TokenBias>> logit_bias;  // null: none

  // Sampling needs the tokens so far.
  bool penalizes() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

struct TokenProbability {
  int32_t token = 0;
  float logprob = 0.0f;  // natural log, raw distribution
};

struct SampledToken {
  int32_t token = 0;
  float logprob = 0.0f;               // valid when asked for
  std::vector<TokenProbability> top;  // most probable first
};

// Consecutive tokens of one sequence to compute in one step: a prefill chunk or one decoded token.
// The spans stay valid and unchanged until Run returns.
struct BatchEntry {
  std::span<const int32_t> tokens;  // [count], count >= 1
  int first_position = 0;           // of tokens[0]; all earlier positions are in the pages
  std::span<const int32_t> pages;   // page table, covers positions [0, first_position + count)
  bool sample = false;              // sample the token that follows the last one
  SamplingParams sampling;
  // With `sample`, where `sampling` penalizes: all tokens before the sampled one, of which the
  // first `prompt_tokens` are the prompt.
  std::span<const int32_t> history;
  int prompt_tokens = 0;
};

struct Batch {
  std::vector<BatchEntry> entries;
};

struct StepResult {
  std::vector<std::optional<SampledToken>> sampled;  // one per entry; set where `sample` was
};

// A block of KV in resident pages: the coordinates of a slab.
struct KvBlock {
  int first_layer = 0, end_layer = 0;
  int first_head = 0, end_head = 0;
  int first_token = 0, end_token = 0;
  std::span<const int32_t> pages;  // page table of the sequence, covers end_token
};

// Geometry and capacity of a runner's KV pages.
struct KvPages {
  kernels::KvGeometry geometry;
  kernels::KvFormats resident;
  int page_tokens = 0;
  int page_count = 0;
};

// Executes a model over paged KV on one device and owns the pages' memory; page numbers are handed
// out by others (common/kv).
//
// Threading: Run is called by one thread at a time (the compute lane), Pack and Scatter by one
// thread at a time (the copy lane); the two lanes may overlap. A page is never written by one lane
// while the other reads it (the owner of the page table sees to that).
// Errors: a status means that the device failed and the worker cannot go on; bad requests are
// refused before they come here.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  virtual const KvPages& kv() const = 0;

  // Computes the batch: writes K and V of all its tokens, samples where asked.
  virtual absl::StatusOr<StepResult> Run(const Batch& batch) = 0;

  // Packs pages into a slab payload in `wire` format (numbers.md, "Slab"). `payload` has exactly
  // the slab's payload bytes. Returns the payload's part of the checksum.
  virtual absl::StatusOr<uint64_t> Pack(const KvBlock& block, kernels::KvFormats wire,
                                        std::span<std::byte> payload) = 0;

  // Writes a slab payload into pages. Returns the payload's part of the checksum, computed in the
  // same pass: on a mismatch the caller discards the pages' content.
  virtual absl::StatusOr<uint64_t> Scatter(const KvBlock& block, kernels::KvFormats wire,
                                           std::span<const std::byte> payload) = 0;
};

}  // namespace baton
