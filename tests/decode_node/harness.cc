#include "tests/decode_node/harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace baton {
namespace {

SamplingParams Greedy() {
  SamplingParams sampling;
  sampling.temperature = 0;
  return sampling;
}

v1::KvContract MakeContract(const FakeRunner::Config& runner) {
  v1::KvContract contract;
  contract.set_protocol_version(1);
  contract.mutable_model()->set_architecture("Fake");
  contract.mutable_model()->set_tokenizer_digest("tokenizer");
  contract.mutable_model()->set_source_digest("source");
  contract.mutable_model()->set_vocab_size(static_cast<uint32_t>(runner.vocab_size));
  contract.mutable_geometry()->set_layers(static_cast<uint32_t>(runner.geometry.layers));
  contract.mutable_geometry()->set_kv_heads(static_cast<uint32_t>(runner.geometry.kv_heads));
  contract.mutable_geometry()->set_head_dim(static_cast<uint32_t>(runner.geometry.head_dim));
  contract.mutable_producer()->set_weights_digest("weights");
  contract.mutable_producer()->set_scheme("fp16");
  contract.mutable_producer()->set_kv_format(v1::KV_FORMAT_FP16);
  contract.set_resident_format(v1::KV_FORMAT_FP16);
  contract.add_wire_formats(v1::KV_FORMAT_FP16);
  contract.set_scale_layout(v1::SCALE_LAYOUT_PER_TOKEN_HEAD);
  contract.set_page_tokens(static_cast<uint32_t>(runner.page_tokens));
  contract.set_tp_size(1);
  return contract;
}

}  // namespace

TransferId MakeTransfer(uint64_t number) { return {0xBA70, number}; }

WorkerKey PrefillKey(int number) {
  return {WorkerId("prefill-" + std::to_string(number)),
          Incarnation(static_cast<uint64_t>(100 + number))};
}

std::vector<int32_t> MakePrompt(int tokens, int salt) {
  std::vector<int32_t> prompt(static_cast<size_t>(tokens));
  for (int i = 0; i < tokens; ++i) prompt[static_cast<size_t>(i)] = (i * 7 + salt * 131 + 3) % 997;
  return prompt;
}

std::vector<uint32_t> FakeRouterCall::reserved() const {
  std::vector<uint32_t> attempts;
  for (const auto& m : messages) {
    if (m.has_reserved()) attempts.push_back(m.reserved().attempt());
  }
  return attempts;
}

std::vector<int32_t> FakeRouterCall::tokens() const {
  std::vector<int32_t> ids;
  for (const auto& m : messages) {
    if (!m.has_token()) continue;
    ids.push_back(m.token().token_id());
    EXPECT_EQ(m.token().index(), ids.size());
  }
  return ids;
}

const v1::DecodeCommitted* FakeRouterCall::committed() const {
  const v1::DecodeCommitted* last = nullptr;
  for (const auto& m : messages) {
    if (m.has_committed()) last = &m.committed();
  }
  return last;
}

const v1::Finished* FakeRouterCall::finished() const {
  const v1::Finished* last = nullptr;
  for (const auto& m : messages) {
    if (m.has_finished()) last = &m.finished();
  }
  return last;
}

// HandPrefill -------------------------------------------------------------------------------------

HandPrefill::HandPrefill(Harness& harness, WorkerKey self)
    : contract(harness.contract), harness_(harness), self_(std::move(self)) {
  stream = harness.handoff_service.Open(
      "decode", TimePoint::max(), [this](StreamEvent<v1::HandoffResponse> event) {
        if (auto* end = std::get_if<StreamClosed>(&event)) {
          closed = end->status;
        } else {
          messages.push_back(std::get<v1::HandoffResponse>(event));
        }
      });
  connection_ = harness.prefill_transport
                    .Connect(harness.worker->kv_endpoint(), {self_.id, self_.incarnation}, {})
                    .value();
}

void HandPrefill::Hello() { Hello(harness_.identity); }

void HandPrefill::Hello(const v1::WorkerIdentity& decode) {
  v1::HandoffRequest message;
  *message.mutable_hello()->mutable_prefill() = IdentityOf(self_);
  *message.mutable_hello()->mutable_decode() = decode;
  Send(std::move(message));
}

void HandPrefill::Compute(const std::vector<int32_t>& prompt) {
  FakeRunner::Config config = harness_.runner_config;
  config.page_count = PagesFor(static_cast<int64_t>(prompt.size()), config.page_tokens);
  runner_ = std::make_unique<FakeRunner>(config);
  prompt_ = prompt;
  pages_.clear();
  // In descending order: the two sides' page numbers have nothing to do with each other.
  for (int32_t page = config.page_count - 1; page >= 0; --page) pages_.push_back(page);
  Batch batch;
  batch.entries.push_back({prompt_, 0, pages_, false, Greedy()});
  ASSERT_TRUE(runner_->Run(batch).ok());
}

void HandPrefill::Open(const TransferId& transfer, uint32_t attempt, uint32_t prompt_tokens) {
  v1::HandoffOpen open;
  open.set_request_id("request");
  *open.mutable_contract() = contract;
  open.set_prompt_tokens(prompt_tokens);
  Open(transfer, attempt, open);
}

void HandPrefill::Open(const TransferId& transfer, uint32_t attempt, const v1::HandoffOpen& open) {
  v1::HandoffRequest message;
  message.set_transfer_id(transfer.ToBytes());
  message.set_attempt(attempt);
  *message.mutable_open() = open;
  Send(std::move(message));
}

void HandPrefill::Ask(const TransferId& transfer, uint32_t attempt, uint32_t slab,
                      const kernels::SlabRange& range) {
  v1::HandoffRequest message;
  message.set_transfer_id(transfer.ToBytes());
  message.set_attempt(attempt);
  v1::HandoffNeedCredit* need = message.mutable_need_credit();
  need->set_slab(slab);
  need->mutable_range()->set_first_layer(range.l0);
  need->mutable_range()->set_end_layer(range.l1);
  need->mutable_range()->set_first_head(range.h0);
  need->mutable_range()->set_end_head(range.h1);
  need->mutable_range()->set_first_token(range.t0);
  need->mutable_range()->set_end_token(range.t1);
  const auto layout = kernels::SlabLayout::Make(range, harness_.runner_config.resident,
                                                harness_.runner_config.geometry.head_dim);
  need->set_bytes((layout ? layout->payload_bytes() : 0) + kernels::SlabHeader::kBytes);
  Send(std::move(message));
}

HandPrefill::Slab HandPrefill::Pack(const TransferId& transfer, uint32_t attempt, uint32_t slab,
                                    const kernels::SlabRange& range) {
  Slab packed;
  packed.header.attempt = attempt;
  packed.header.slab_number = slab;
  packed.header.range = range;
  packed.header.formats = harness_.runner_config.resident;
  const std::string id = transfer.ToBytes();
  std::memcpy(packed.header.transfer_id.data(), id.data(), id.size());
  packed.payload.resize(kernels::SlabLayout::Make(range, packed.header.formats,
                                                  harness_.runner_config.geometry.head_dim)
                            ->payload_bytes());
  packed.header.payload_bytes = packed.payload.size();
  const KvBlock block{static_cast<int>(range.l0),
                      static_cast<int>(range.l1),
                      static_cast<int>(range.h0),
                      static_cast<int>(range.h1),
                      static_cast<int>(range.t0),
                      static_cast<int>(range.t1),
                      pages_};
  const uint64_t payload_sum = runner_->Pack(block, packed.header.formats, packed.payload).value();
  packed.header.checksum = payload_sum + kernels::HeaderChecksum(packed.header);
  return packed;
}

void HandPrefill::SendSlab(Slab slab) {
  auto owned = std::make_shared<std::vector<std::byte>>(std::move(slab.payload));
  connection_->Send(kernels::EncodeSlabHeader(slab.header), *owned, [owned](absl::Status) {});
}

void HandPrefill::Commit(const TransferId& transfer, uint32_t attempt, uint32_t first_wanted,
                         int32_t first_token, const std::vector<Slab>& slabs) {
  v1::HandoffRequest message;
  message.set_transfer_id(transfer.ToBytes());
  message.set_attempt(attempt);
  v1::HandoffCommit* commit = message.mutable_commit();
  commit->set_first_token(first_token);
  commit->set_first_token_index(first_wanted);
  commit->set_end_token(static_cast<uint32_t>(prompt_.size()));
  commit->set_slabs(static_cast<uint32_t>(slabs.size()));
  uint64_t bytes = 0, digest = 0;
  for (const Slab& slab : slabs) {
    bytes += slab.header.payload_bytes + kernels::SlabHeader::kBytes;
    digest += kernels::DigestTerm(slab.header.checksum, slab.header.slab_number);
  }
  commit->set_bytes_wire(bytes);
  commit->set_digest(digest);
  Send(std::move(message));
}

void HandPrefill::Abort(const TransferId& transfer, uint32_t attempt, v1::AbortReason reason) {
  v1::HandoffRequest message;
  message.set_transfer_id(transfer.ToBytes());
  message.set_attempt(attempt);
  message.mutable_abort()->set_reason(reason);
  Send(std::move(message));
}

void HandPrefill::Renew(const std::vector<TransferId>& transfers) {
  v1::HandoffRequest message;
  message.mutable_renew();
  for (const TransferId& id : transfers) message.mutable_renew()->add_transfer_ids(id.ToBytes());
  Send(std::move(message));
}

const v1::HandoffResponse* HandPrefill::last(v1::HandoffResponse::MessageCase kind) const {
  const v1::HandoffResponse* found = nullptr;
  for (const auto& m : messages) {
    if (m.message_case() == kind) found = &m;
  }
  return found;
}

int HandPrefill::count(v1::HandoffResponse::MessageCase kind) const {
  return static_cast<int>(std::count_if(messages.begin(), messages.end(),
                                        [&](const auto& m) { return m.message_case() == kind; }));
}

std::optional<v1::AckCode> HandPrefill::ack(uint32_t slab) const {
  std::optional<v1::AckCode> code;
  for (const auto& m : messages) {
    if (m.has_ack() && m.ack().slab() == slab) code = m.ack().code();
  }
  return code;
}

std::vector<kernels::SlabRange> HandPrefill::Ranges(uint32_t first_wanted, uint32_t cut) const {
  const kernels::KvGeometry& g = harness_.runner_config.geometry;
  const uint32_t end = static_cast<uint32_t>(prompt_.size());
  std::vector<kernels::SlabRange> ranges;
  for (uint32_t t = first_wanted; t < end; t += cut) {
    ranges.push_back({0, static_cast<uint32_t>(g.layers), 0, static_cast<uint32_t>(g.kv_heads), t,
                      std::min(end, t + cut)});
  }
  return ranges;
}

int32_t HandPrefill::first_token() const {
  return FakeRunner::NextToken(harness_.runner_config, prompt_, Greedy());
}

// Harness -----------------------------------------------------------------------------------------

Harness::Harness(Options opts)
    : options(opts),
      transport_lanes(opts.step_transport ? InProcessLanes::Mode::kStepped
                                          : InProcessLanes::Mode::kImmediate),
      logger({.level = LogLevel::kError}) {
  runner_config.page_count = opts.page_count;
  runner_config.page_tokens = opts.page_tokens;
  runner = std::make_unique<FakeRunner>(runner_config);
  contract = MakeContract(runner_config);
  identity.set_worker_id("decode-1");
  identity.set_incarnation(7);
  DecodeWorker::Config config;
  config.identity = identity;
  config.contract = contract;
  config.limits = {runner_config.vocab_size, 100000, {}, 20, 16};
  config.kv_listen = "kv";
  config.prefix_cache = opts.prefix_cache;
  config.max_batch = opts.max_batch;
  config.max_queue = opts.max_queue;
  config.max_pending_kv = opts.max_pending_kv;
  config.slab_bytes = opts.slab_bytes;
  config.arena_bytes = opts.arena_bytes;
  auto made =
      DecodeWorker::Create(config, {clock, mailbox, executor, *runner, transport, logger, metrics});
  EXPECT_TRUE(made.ok()) << ToString(made.status());
  worker = *std::move(made);
  decode_service.Listen("decode", [this](auto stream, TimePoint deadline) {
    return worker->AcceptDecode(std::move(stream), deadline);
  });
  handoff_service.Listen("decode", [this](auto stream, TimePoint deadline) {
    return worker->AcceptHandoff(std::move(stream), deadline);
  });
}

Harness::~Harness() {
  EXPECT_TRUE(worker->pages().allocator().Conserved());
  prefill_transport.Close();
  transport.Close();
  executor.Drop();
  mailbox.Stop();
}

void Harness::Run() {
  while (mailbox.RunAll() + executor.RunAll() > 0) {
  }
}

void Harness::Pass(Duration time) {
  for (Duration passed{0}; passed < time; passed += std::chrono::milliseconds(500)) {
    clock.Advance(std::chrono::milliseconds(500));
    worker->Tick();
    Run();
  }
}

std::unique_ptr<FakeRouterCall> Harness::Call(TimePoint deadline) {
  auto call = std::make_unique<FakeRouterCall>();
  FakeRouterCall* raw = call.get();
  call->stream =
      decode_service.Open("decode", deadline, [raw](StreamEvent<v1::DecodeResponse> event) {
        if (auto* end = std::get_if<StreamClosed>(&event)) {
          raw->closed = end->status;
        } else {
          raw->messages.push_back(std::get<v1::DecodeResponse>(event));
        }
      });
  return call;
}

v1::DecodeRequest Harness::StartMessage(const TransferId& transfer,
                                        const std::vector<int32_t>& prompt, int max_tokens,
                                        uint32_t attempt, const WorkerKey& prefill) const {
  v1::DecodeRequest message;
  v1::DecodeStart* start = message.mutable_start();
  start->set_transfer_id(transfer.ToBytes());
  start->set_attempt(attempt);
  start->set_incarnation(identity.incarnation());
  *start->mutable_prefill()->mutable_identity() = IdentityOf(prefill);
  start->mutable_request()->set_request_id("request");
  start->mutable_request()->mutable_prompt()->Assign(prompt.begin(), prompt.end());
  start->mutable_request()->mutable_sampling()->set_top_p(1);
  start->mutable_request()->mutable_sampling()->set_max_tokens(static_cast<uint32_t>(max_tokens));
  return message;
}

std::unique_ptr<FakeRouterCall> Harness::Start(const TransferId& transfer,
                                               const std::vector<int32_t>& prompt, int max_tokens,
                                               uint32_t attempt, const WorkerKey& prefill) {
  auto call = Call();
  call->stream->Send(StartMessage(transfer, prompt, max_tokens, attempt, prefill)).IgnoreError();
  Run();
  return call;
}

void Harness::Rebind(FakeRouterCall& call, uint32_t attempt, const WorkerKey& prefill) {
  v1::DecodeRequest message;
  message.mutable_rebind()->set_attempt(attempt);
  *message.mutable_rebind()->mutable_prefill()->mutable_identity() = IdentityOf(prefill);
  call.stream->Send(std::move(message)).IgnoreError();
  Run();
}

void Harness::Cancel(FakeRouterCall& call, v1::CancelReason reason) {
  v1::DecodeRequest message;
  message.mutable_cancel()->set_reason(reason);
  call.stream->Send(std::move(message)).IgnoreError();
  Run();
}

void Harness::HandOver(HandPrefill& prefill, const TransferId& transfer, uint32_t attempt,
                       const std::vector<int32_t>& prompt, uint32_t cut) {
  prefill.Compute(prompt);
  const auto* grant = prefill.last(v1::HandoffResponse::kGrant);
  ASSERT_NE(grant, nullptr);
  const uint32_t first_wanted = grant->grant().first_wanted();
  std::vector<HandPrefill::Slab> slabs;
  for (const auto& range : prefill.Ranges(first_wanted, cut)) {
    const uint32_t number = static_cast<uint32_t>(slabs.size());
    prefill.Ask(transfer, attempt, number, range);
    Run();
    slabs.push_back(prefill.Pack(transfer, attempt, number, range));
    prefill.SendSlab(slabs.back());
    Run();
  }
  prefill.Commit(transfer, attempt, first_wanted, prefill.first_token(), slabs);
  Run();
}

std::vector<int32_t> Harness::Expected(const std::vector<int32_t>& prompt, int max_tokens) const {
  const auto all = FakeRunner::Generate(runner_config, prompt, Greedy(), max_tokens);
  return {all.begin() + static_cast<std::ptrdiff_t>(prompt.size()) + 1, all.end()};
}

double Harness::Counter(const MetricName& name, MetricLabels labels) {
  return static_cast<double>(metrics.GetCounter(name, std::move(labels)).value());
}

}  // namespace baton
