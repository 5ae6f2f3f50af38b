#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "common/engine/model_runner.h"

namespace baton {

// What a model says about a fixed sequence of tokens: its most probable next tokens at some
// positions. Two workers whose checkpoints do not name their source are taken to serve one model
// where their probes agree.

inline constexpr uint32_t kProbeVersion = 1;
inline constexpr int kProbePositions = 16;
inline constexpr int kProbeTop = 8;     // tokens reported at each position
inline constexpr int kProbeStride = 4;  // tokens from one position to the next
inline constexpr int kProbeTokens = kProbePositions * kProbeStride;

// Largest distance of probes that agree. Chosen between the two figures that
// tests/common/runner/cpu/model_probe_test.cc prints and checks: the largest distance of one model
// in two weight schemes, and the smallest of two models, among them one and its copy in which one
// weight in a hundred has the wrong sign.
inline constexpr double kProbeBound = 0.4;

// The sequence: sixteen tokens that follow from the vocabulary's size, four times over. A repeated
// sequence is one that models of text are sure of, which keeps the noise of quantization small.
std::vector<int32_t> ProbeSequence(int vocab_size);

// Runs the sequence in pages [0, kProbeTokens / page size), which must hold nothing and be used by
// nobody else meanwhile. FAILED_PRECONDITION when the pages or the vocabulary are too few; INTERNAL
// when a log-probability is not finite; or the runner's status.
absl::StatusOr<v1::ModelProbe> TakeProbe(ModelRunner& runner, int vocab_size);

// INVALID_ARGUMENT, naming the field, for a probe whose sizes or numbers cannot be. An absent one
// (version 0) is valid.
absl::Status ValidateProbe(const v1::ModelProbe& probe);

// Mean over the positions of the mean |Δ log-probability| (nats) of the tokens that either side
// reports, weighted by probability. A token that one side does not report counts with the least it
// can differ by. 0 for equal probes, symmetric; nullopt where one is absent, of another version or
// invalid.
std::optional<double> ProbeDistance(const v1::ModelProbe& a, const v1::ModelProbe& b);

}  // namespace baton
