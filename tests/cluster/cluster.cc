#include "tests/cluster/cluster.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr Duration kStride = std::chrono::milliseconds(50);

}  // namespace

ClientCall::ClientCall(v1::GenerateRequest r, const FakeRunner::Config& model)
    : request(std::move(r)) {
  const std::vector<int32_t> prompt(request.token_ids().ids().begin(),
                                    request.token_ids().ids().end());
  SamplingParams sampling;
  sampling.temperature = request.temperature();
  sampling.seed = request.seed();
  std::vector<int32_t> all =
      FakeRunner::Generate(model, prompt, sampling, static_cast<int>(request.max_tokens()));
  expected_.assign(all.begin() + static_cast<ptrdiff_t>(prompt.size()), all.end());
}

ClientCall::ClientCall(v1::GenerateRequest r, std::vector<int32_t> expected)
    : request(std::move(r)), expected_(std::move(expected)) {}

void ClientCall::OnEvent(StreamEvent<v1::GenerateResponse> event) {
  EXPECT_FALSE(end_.has_value()) << request.request_id();
  if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    end_ = closed->status;
    EXPECT_EQ(closed->status.ok(), complete_.has_value()) << closed->status;
    return;
  }
  EXPECT_FALSE(complete_.has_value()) << request.request_id();
  const auto& response = std::get<v1::GenerateResponse>(event);
  if (response.has_complete()) {
    complete_ = response.complete();
    EXPECT_EQ(complete_->usage().completion_tokens(), tokens.size());
    return;
  }
  const v1::Chunk& chunk = response.chunk();
  EXPECT_EQ(chunk.first_index(), tokens.size()) << request.request_id();
  for (int32_t token : chunk.token_ids()) {
    ASSERT_LT(tokens.size(), expected_.size()) << request.request_id();
    EXPECT_EQ(token, expected_[tokens.size()])
        << request.request_id() << " index " << tokens.size();
    tokens.push_back(token);
  }
  for (const v1::Logprobs& report : chunk.logprobs()) logprobs.push_back(report.chosen());
  text += chunk.text();
}

Cluster::Options Cluster::Defaults() {
  Options options;
  options.prefill.scheme = "w8a8";
  options.decode.scheme = "w4a16";
  options.decode.runner.resident = {kernels::KvFormat::kInt8, kernels::KvFormat::kInt8};
  return options;
}

Cluster::Cluster(Options o)
    : options(std::move(o)), policy_(*MakeRoutingPolicy(options.policy, options.seed)) {
  Router::Config config;
  config.model.name = "fake";
  config.max_queue = options.router_queue;
  config.max_retries = options.retries;
  config.seed = options.seed;
  router_ = std::make_unique<Router>(
      std::move(config), wires.clock, router_mailbox_, wires.logger, &codec_, *policy_, metrics_,
      LiveRequest::Openers{[this](const std::string& endpoint, TimePoint deadline, auto sink) {
                             return wires.prefill.Open(endpoint, deadline, std::move(sink));
                           },
                           [this](const std::string& endpoint, TimePoint deadline, auto sink) {
                             return wires.decode.Open(endpoint, deadline, std::move(sink));
                           }});
  wires.generate.Listen("router", router_->GenerateAcceptor());
  wires.registry.Listen("router", router_->RegisterAcceptor());
  for (int i = 0; i < options.prefills; ++i) Start(fmt::format("p{}", i));
  for (int i = 0; i < options.decodes; ++i) Start(fmt::format("d{}", i));
  Run();
}

Cluster::~Cluster() {
  router_->Close();
  router_mailbox_.Stop();
}

void Cluster::Start(const std::string& id) {
  const bool prefill = id[0] == 'p';
  NodeOptions node = prefill ? options.prefill : options.decode;
  node.id = id;
  node.incarnation = next_incarnation_++;
  node.fault_seed = options.seed * 1000 + node.incarnation;
  if (prefill) {
    nodes_[id] = std::make_unique<PrefillNode>(wires, std::move(node));
  } else {
    nodes_[id] = std::make_unique<DecodeNode>(wires, std::move(node));
  }
}

void Cluster::Kill(const std::string& id) { nodes_.erase(id); }

PrefillNode& Cluster::p(int i) {
  return dynamic_cast<PrefillNode&>(*nodes_.at(fmt::format("p{}", i)));
}

DecodeNode& Cluster::d(int i) {
  return dynamic_cast<DecodeNode&>(*nodes_.at(fmt::format("d{}", i)));
}

void Cluster::BreakHandoff(const std::string& decode) {
  wires.handoff.Break(decode);
  DecodeWorker& worker =
      const_cast<DecodeWorker&>(dynamic_cast<DecodeNode&>(*nodes_.at(decode)).worker());
  wires.handoff.Listen(decode, [&worker](auto stream, TimePoint deadline) {
    return worker.AcceptHandoff(std::move(stream), deadline);
  });
}

bool Cluster::Turn() {
  bool moved = !wires.lanes.Waiting().empty();
  wires.lanes.DeliverAll();
  if (!decode_held_ && !wires.decode_lanes.Waiting().empty()) {
    moved = true;
    wires.decode_lanes.DeliverAll();
  }
  moved |= router_mailbox_.RunAll() > 0;
  router_->Tick();
  for (auto& [id, node] : nodes_) moved |= node->Turn();
  CheckInvariants();
  return moved;
}

void Cluster::Run() {
  // What a Tick posts moves in the next turn.
  for (int turns = 0, quiet = 0; quiet < 2; ++turns) {
    quiet = Turn() ? 0 : quiet + 1;
    ASSERT_LT(turns, 100000) << "it never comes to rest";
  }
}

void Cluster::Pass(Duration time) {
  for (Duration passed{0}; passed < time; passed += kStride) {
    wires.clock.Advance(kStride);
    Run();
  }
}

void Cluster::Advance(Duration time) {
  wires.clock.Advance(time);
  router_->Tick();
  for (auto& [id, node] : nodes_) node->Tick();
}

bool Cluster::Step(std::mt19937_64& rng) {
  // The router, and of each node its mailbox, both lanes and its held slabs.
  const std::vector<int> lanes = wires.lanes.Waiting();
  const std::vector<int> decode_lanes =
      decode_held_ ? std::vector<int>() : wires.decode_lanes.Waiting();
  const size_t choices = lanes.size() + decode_lanes.size() + 1 + 4 * nodes_.size();
  size_t draw = std::uniform_int_distribution<size_t>(0, choices - 1)(rng);
  if (draw < lanes.size()) return wires.lanes.Deliver(lanes[draw]);
  draw -= lanes.size();
  if (draw < decode_lanes.size()) return wires.decode_lanes.Deliver(decode_lanes[draw]);
  draw -= decode_lanes.size();
  if (draw == 0) {
    const bool moved = router_mailbox_.RunOne();
    router_->Tick();
    return moved;
  }
  --draw;
  Node& node = *std::next(nodes_.begin(), static_cast<ptrdiff_t>(draw / 4))->second;
  switch (draw % 4) {
    case 0:
      return node.StepMailbox();
    case 1:
      return node.StepLane(Lane::kCompute);
    case 2:
      return node.StepLane(Lane::kCopy);
    default:
      return node.ReleaseSlab();
  }
}

bool Cluster::StepUntil(std::mt19937_64& rng, const std::function<bool()>& condition) {
  for (int misses = 0; misses < 2000;) {
    if (condition()) return true;
    misses = Step(rng) ? 0 : misses + 1;
  }
  return condition();
}

v1::GenerateRequest Cluster::Request(int prompt_tokens, uint32_t max_tokens, int salt) {
  v1::GenerateRequest request;
  for (int i = 0; i < prompt_tokens; ++i) {
    request.mutable_token_ids()->add_ids((salt * 131 + i * 7 + i * i * salt) % 900);
  }
  request.set_max_tokens(max_tokens);
  request.set_temperature(0);
  return request;
}

std::shared_ptr<ClientCall> Cluster::Send(v1::GenerateRequest request, TimePoint deadline) {
  std::shared_ptr<ClientCall> call;
  if (options.oracle) {
    std::vector<int32_t> expected = options.oracle(request);
    call = std::make_shared<ClientCall>(std::move(request), std::move(expected));
  } else {
    call = std::make_shared<ClientCall>(std::move(request), options.decode.runner);
  }
  call->stream = wires.generate.Open(
      "router", deadline, [call = call.get()](auto event) { call->OnEvent(std::move(event)); });
  call->stream->Send(call->request).IgnoreError();
  return call;
}

void Cluster::CheckInvariants() const {
  for (const auto& [id, node] : nodes_) node->CheckInvariants();
}

bool Cluster::idle() const {
  for (const auto& [id, node] : nodes_) {
    if (!node->idle()) return false;
  }
  return router_->idle();
}

}  // namespace baton
