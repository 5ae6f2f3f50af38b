#include "tests/cluster/nodes.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/base/status.h"
#include "common/cluster/contract.h"
#include "common/handoff/wire_format.h"

namespace baton {

v1::KvContract ContractOf(const NodeOptions& options) {
  const FakeRunner::Config& runner = options.runner;
  const v1::KvFormat resident = KvFormatNamed(runner.resident);
  v1::KvContract contract;
  contract.set_protocol_version(kProtocolVersion);
  contract.mutable_model()->set_architecture("Fake");
  contract.mutable_model()->set_tokenizer_digest("tokenizer");
  contract.mutable_model()->set_source_digest("source");
  contract.mutable_model()->set_vocab_size(static_cast<uint32_t>(runner.vocab_size));
  contract.mutable_geometry()->set_layers(static_cast<uint32_t>(runner.geometry.layers));
  contract.mutable_geometry()->set_kv_heads(static_cast<uint32_t>(runner.geometry.kv_heads));
  contract.mutable_geometry()->set_head_dim(static_cast<uint32_t>(runner.geometry.head_dim));
  contract.mutable_producer()->set_weights_digest(options.scheme);
  contract.mutable_producer()->set_scheme(options.scheme);
  contract.mutable_producer()->set_kv_format(resident);
  contract.set_resident_format(resident);
  contract.add_wire_formats(resident);
  for (v1::KvFormat format : {v1::KV_FORMAT_INT8, v1::KV_FORMAT_FP16}) {
    if (format != resident) contract.add_wire_formats(format);
  }
  contract.set_scale_layout(v1::SCALE_LAYOUT_PER_TOKEN_HEAD);
  contract.set_page_tokens(static_cast<uint32_t>(runner.page_tokens));
  contract.set_tp_size(1);
  return contract;
}

namespace {

v1::WorkerIdentity IdentityOf(const NodeOptions& options) {
  v1::WorkerIdentity identity;
  identity.set_worker_id(options.id);
  identity.set_incarnation(options.incarnation);
  return identity;
}

RequestLimits LimitsOf(const NodeOptions& options) {
  return {.vocab_size = options.runner.vocab_size, .max_context = options.max_context};
}

}  // namespace

Node::Node(Wires& wires, NodeOptions options, v1::Role role)
    : wires_(wires),
      options_(std::move(options)),
      role_(role),
      mailbox_(wires.clock),
      runner_(options_.runner),
      real_(options_.make_model ? options_.make_model() : nullptr),
      local_(wires.fabric),
      faulty_(local_, options_.faults, options_.fault_seed) {}

Node::~Node() {
  reporter_.reset();
  faulty_.Close();
  executor_.Drop();
  mailbox_.Stop();
}

void Node::Announce(const std::string& kv_endpoint) {
  RegistryReporter::Config config;
  v1::WorkerDescriptor& d = config.descriptor;
  *d.mutable_identity() = IdentityOf(options_);
  d.set_role(role_);
  d.set_model("fake");
  *d.mutable_contract() = ContractOf(options_);
  d.set_rpc_endpoint(options_.id);
  d.set_kv_endpoint(kv_endpoint);
  d.set_transport("local");
  d.set_max_context(static_cast<uint32_t>(options_.max_context));
  if (options_.tells_queue) d.set_max_queue(static_cast<uint32_t>(options_.max_queue));
  d.set_pages_total(static_cast<uint32_t>(options_.runner.page_count));
  config.router_endpoint = "router";
  reporter_ = std::make_unique<RegistryReporter>(
      std::move(config),
      [this](const std::string& endpoint, TimePoint deadline, auto sink) {
        return wires_.registry.Open(endpoint, deadline, std::move(sink));
      },
      mailbox_, wires_.logger, [this] { return Load(); }, [this] { Drain(TimePoint::max()); });
}

HandoffLinks::Opener Node::HandoffOpener() {
  return [this](const std::string& endpoint, TimePoint deadline,
                StreamSink<v1::HandoffResponse> sink) {
    return wires_.handoff.Open(endpoint, deadline, std::move(sink));
  };
}

bool Node::StepMailbox() {
  if (!mailbox_.RunOne()) return false;
  Tick();
  return true;
}

void Node::Tick() {
  TickWorker();
  reporter_->Tick(wires_.clock.Now());
}

bool Node::Turn() {
  bool moved = mailbox_.RunAll() > 0;
  Tick();
  moved |= executor_.RunAll() > 0;
  while (faulty_.Release()) moved = true;
  return moved;
}

PrefillNode::PrefillNode(Wires& wires, NodeOptions options)
    : Node(wires, std::move(options), v1::ROLE_PREFILL) {
  PrefillWorker::Config config;
  config.self = IdentityOf(options_);
  config.contract = ContractOf(options_);
  config.limits = LimitsOf(options_);
  config.max_queue = options_.max_queue;
  config.chunk_tokens = options_.chunk_tokens;
  config.max_batch = options_.max_batch;
  config.prefix_cache = options_.prefix_cache;
  config.slab_bytes = options_.slab_bytes;
  config.arena_bytes = options_.arena_bytes;
  config.lease = options_.lease;
  auto worker =
      PrefillWorker::Create(std::move(config), {model(), executor_, mailbox_, wires.clock, faulty_,
                                                HandoffOpener(), wires.logger, metrics_});
  EXPECT_TRUE(worker.ok()) << worker.status();
  worker_ = *std::move(worker);
  wires_.prefill.Listen(id(), worker_->acceptor());
  Announce("");
}

PrefillNode::~PrefillNode() {
  wires_.prefill.Break(id());
  reporter_.reset();
  faulty_.Close();
  executor_.Drop();
  mailbox_.Stop();
}

void PrefillNode::Drain(TimePoint deadline) {
  worker_->Drain(deadline);
  reporter_->ReportSoon();
}

void PrefillNode::CheckInvariants() const {
  ASSERT_TRUE(worker_->scheduler().pages().allocator().Conserved()) << id();
  ASSERT_LE(worker_->handoff().arena_used(), options_.arena_bytes) << id();
}

DecodeNode::DecodeNode(Wires& wires, NodeOptions options)
    : Node(wires, std::move(options), v1::ROLE_DECODE) {
  DecodeWorker::Config config;
  config.identity = IdentityOf(options_);
  config.contract = ContractOf(options_);
  config.limits = LimitsOf(options_);
  config.kv_listen = id() + ".kv";
  config.prefix_cache = options_.prefix_cache;
  config.max_batch = options_.max_batch;
  config.max_queue = options_.max_queue;
  config.max_pending_kv = options_.max_pending_kv;
  config.slab_bytes = options_.slab_bytes;
  config.arena_bytes = options_.arena_bytes;
  config.leases = options_.lease;
  auto worker = DecodeWorker::Create(std::move(config), {wires.clock, mailbox_, executor_, model(),
                                                         faulty_, wires.logger, metrics_});
  EXPECT_TRUE(worker.ok()) << worker.status();
  worker_ = *std::move(worker);
  wires_.decode.Listen(id(), [this](auto stream, TimePoint deadline) {
    return worker_->AcceptDecode(std::move(stream), deadline);
  });
  wires_.handoff.Listen(id(), [this](auto stream, TimePoint deadline) {
    return worker_->AcceptHandoff(std::move(stream), deadline);
  });
  Announce(worker_->kv_endpoint());
}

DecodeNode::~DecodeNode() {
  wires_.decode.Break(id());
  wires_.handoff.Break(id());
  reporter_.reset();
  faulty_.Close();
  executor_.Drop();
  mailbox_.Stop();
}

void DecodeNode::Drain(TimePoint deadline) {
  worker_->Drain(deadline);
  reporter_->ReportSoon();
}

void DecodeNode::CheckInvariants() const {
  ASSERT_TRUE(worker_->pages().allocator().Conserved()) << id();
  ASSERT_LE(worker_->arena().used(), options_.arena_bytes) << id();
}

}  // namespace baton
