#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace baton::kernels {

// Philox4x32-10 (Salmon et al., Random123): ten rounds.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The random number in [0, 1) of one sampled token: key = seed, counter = (position, stream, 0), u
// = top 24 bits / 2^24. `position`: absolute index of the sampled token in prompt + output (first
// output token: the prompt's length).
float SamplingUniform(uint64_t seed, uint64_t position, uint32_t stream = 0);

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy (the other fields are then unused)
  int top_k = 0;             // 0: off; ties at the cut: lower token ids stay
  float top_p =
      1.0f;  // 1: off; else the shortest prefix whose probability reaches top_p of what top-k left
  float min_p = 0.0f;  // 0: off; drops tokens below min_p times the largest probability
  uint64_t seed = 0;
};

// A value added to the logit of one token.
struct TokenBias {
  int32_t token = 0;
  float bias = 0.0f;
};

// What changes the logits before they are sampled. Token ids are below the number of logits, those
// of `bias` distinct.
struct LogitChanges {
  std::span<const TokenBias> bias;
  float repetition_penalty = 1.0f;   // 1: off; positive logits of tokens seen are divided by it,
                                     // others multiplied
  float frequency_penalty = 0.0f;    // subtracted once for each occurrence in the output
  float presence_penalty = 0.0f;     // subtracted when the token is in the output
  std::span<const int32_t> history;  // tokens seen: the prompt, then the output
  int prompt_tokens = 0;             // of `history`
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;  // natural logarithm

  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

// Highest logit; ties: the lower id. NaN is below everything; -1 if there is no number above -inf.
int32_t SampleGreedy(std::span<const float> logits);

// One token by numbers.md's order: temperature, top-k, top-p, min-p, then by descending probability
// (ties by id) the first whose cumulative probability exceeds u * total. Logits that are NaN or
// -inf are never chosen; -1 if none is left. Scratch memory is kept between calls by the object;
// one object per thread.
class Sampler {
 public:
  // A copy of the logits, changed in this order: bias, repetition, frequency, presence (the last
  // three as vLLM defines them). Valid until the next call.
  std::span<const float> Change(std::span<const float> logits, const LogitChanges& changes);

  int32_t Sample(std::span<const float> logits, const SamplingParams& params, uint64_t position);

 private:
  struct Candidate {
    float weight;  // logit at first, then unnormalized probability
    int32_t token;
  };
  std::vector<Candidate> candidates_;
  std::vector<Candidate> scratch_;
  std::vector<float> changed_;
  std::vector<int32_t> counts_;  // in the output by token; −1: not seen. Between calls all −1
};

// log-softmax of the raw logits (before temperature and filters): logit - max - log(sum exp(logit -
// max)), the sum in double in ascending token order.
struct LogprobResult {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // descending, ties by id; min(top_count, vocabulary) entries
};
LogprobResult TokenLogprobs(std::span<const float> logits, int32_t chosen, int top_count);

}  // namespace baton::kernels
