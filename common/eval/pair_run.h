#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "common/eval/runner_pool.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {

// Receives logits [rows][vocab_size] of consecutive tokens of a sequence; the first row tells of
// the token at `first_target`, the one after the row's own.
using LogitSink = std::function<absl::Status(int first_target, std::span<const float> logits)>;

// The two halves of a served sequence without the servers: the same runners, the same pages, the
// same slab payloads. Chunks stand for steps of one token: on the CPU a token's logits depend on
// its sequence alone, bit for bit (common/runner/cpu), so chunks give what decoding one token at a
// time gives. One thread at a time.
class PairRun {
 public:
  // Borrows `pool`.
  explicit PairRun(RunnerPool& pool) : pool_(pool) {}

  // Computes `prompt` in the role's prefill pages. `sink` gets the rows of every token, or of the
  // last alone.
  absl::Status Prefill(const RoleSpec& role, std::span<const int32_t> prompt, bool every_row,
                       const LogitSink& sink);

  // Packs the first `tokens` tokens of the prefill pages, layer by layer, in the wire format and
  // scatters them into the decode pages. FAILED_PRECONDITION names what of the caches' geometry
  // differs.
  absl::Status HandOver(const PairSpec& pair, int tokens);

  // Computes `tokens` from `first_position` on in the role's decode pages; every row goes to
  // `sink`.
  absl::Status Decode(const RoleSpec& role, std::span<const int32_t> tokens, int first_position,
                      const LogitSink& sink);

 private:
  RunnerPool& pool_;
  kernels::AlignedBuffer<std::byte> payload_;  // of one layer
};

}  // namespace baton
