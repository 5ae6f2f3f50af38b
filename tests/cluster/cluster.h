#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "router/router.h"
#include "tests/cluster/letter_codec.h"
#include "tests/cluster/nodes.h"

namespace baton {

// One client's call, checked as it goes: indices in order, tokens as an undisturbed model gives
// them, nothing after the end.
class ClientCall {
 public:
  ClientCall(v1::GenerateRequest request, const FakeRunner::Config& model);
  ClientCall(v1::GenerateRequest request, std::vector<int32_t> expected);

  void OnEvent(StreamEvent<v1::GenerateResponse> event);
  // The tokens that the model would give, as many as were asked for.
  const std::vector<int32_t>& expected() const { return expected_; }
  const v1::Complete& complete() const { return *complete_; }
  bool ended() const { return end_.has_value(); }
  bool completed() const { return complete_.has_value(); }
  absl::StatusCode code() const { return end_->code(); }

  const v1::GenerateRequest request;
  std::unique_ptr<EventStream<v1::GenerateRequest, v1::GenerateResponse>> stream;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // of `tokens`, when the request asked for them
  std::string text;
  std::optional<absl::Status> end_;

 private:
  std::vector<int32_t> expected_;
  std::optional<v1::Complete> complete_;
};

// A router with prefill and decode workers in one thread: streams, slabs, lanes and time move only
// when told to. Worker i of a role is "p<i>" or "d<i>".
class Cluster {
 public:
  struct Options {
    int prefills = 1;
    int decodes = 1;
    NodeOptions prefill;  // of each; id and incarnation are set here
    NodeOptions decode;
    size_t router_queue = 64;
    uint32_t retries = 2;
    std::string policy = "round_robin";
    uint64_t seed = 1;
    // What the model would answer; empty: the fake model's tokens.
    std::function<std::vector<int32_t>(const v1::GenerateRequest&)> oracle;
  };
  static Options Defaults();

  explicit Cluster(Options options);
  ~Cluster();

  // Moves everything until nothing moves; time stands still.
  void Run();
  // Lets time go by, in small steps, running everything in each.
  void Pass(Duration time);
  // Lets time go by at once: clocks are looked at, nothing else moves.
  void Advance(Duration time);
  // Moves one random thing; false when the one that was drawn had nothing to do.
  bool Step(std::mt19937_64& rng);
  // Steps in a random order until the condition holds, or nothing moves any more: then false.
  bool StepUntil(std::mt19937_64& rng, const std::function<bool()>& condition);

  // While held, nothing moves between router and decode workers.
  void HoldDecode(bool hold) { decode_held_ = hold; }

  // A greedy request for `max_tokens` after a prompt of `prompt_tokens` that follows from `salt`.
  static v1::GenerateRequest Request(int prompt_tokens, uint32_t max_tokens, int salt = 0);
  std::shared_ptr<ClientCall> Send(v1::GenerateRequest request,
                                   TimePoint deadline = TimePoint::max());

  // A crash: all streams break, nothing it had in mind happens any more.
  void Kill(const std::string& id);
  // A new life of the worker of this id.
  void Start(const std::string& id);

  Node* node(const std::string& id) { return nodes_.contains(id) ? nodes_.at(id).get() : nullptr; }
  PrefillNode& p(int i);
  DecodeNode& d(int i);
  Router& router() { return *router_; }
  // Breaks all Handoff streams to a decode worker; it lives on.
  void BreakHandoff(const std::string& decode);
  void CheckInvariants() const;
  // No request anywhere, nothing held but what caches hold.
  bool idle() const;

  const Options options;
  Wires wires;

 private:
  bool Turn();

  Mailbox router_mailbox_{wires.clock};
  const LetterCodec codec_;
  const std::unique_ptr<RoutingPolicy> policy_;
  MetricRegistry metrics_;
  std::unique_ptr<Router> router_;
  std::map<std::string, std::unique_ptr<Node>> nodes_;
  uint64_t next_incarnation_ = 1;
  bool decode_held_ = false;
};

}  // namespace baton
