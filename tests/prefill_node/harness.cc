#include "tests/prefill_node/harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>
#include <utility>

namespace baton {
namespace {

void SetPeer(v1::DecodePeer& peer, const std::string& name) {
  peer.mutable_identity()->set_worker_id(name);
  peer.mutable_identity()->set_incarnation(5);
  peer.set_rpc_endpoint(name);
  peer.set_kv_endpoint(name + "-kv");
}

}  // namespace

void RouterStream::Cancel(v1::CancelReason reason) {
  v1::PrefillRequest message;
  message.mutable_cancel()->set_reason(reason);
  Send(std::move(message));
}

void RouterStream::Rebind(uint32_t attempt, const std::string& decode,
                          std::optional<int32_t> forced) {
  v1::PrefillRequest message;
  message.mutable_rebind()->set_attempt(attempt);
  SetPeer(*message.mutable_rebind()->mutable_decode(), decode);
  if (forced) message.mutable_rebind()->set_forced_first_token(*forced);
  Send(std::move(message));
}

const v1::FirstToken* RouterStream::first_token(int n) const {
  for (const auto& message : messages) {
    if (message.has_first_token() && n-- == 0) return &message.first_token();
  }
  return nullptr;
}

const v1::PrefillRefused* RouterStream::refused(int n) const {
  for (const auto& message : messages) {
    if (message.has_refused() && n-- == 0) return &message.refused();
  }
  return nullptr;
}

const v1::Delivered* RouterStream::delivered() const {
  for (const auto& message : messages) {
    if (message.has_delivered()) return &message.delivered();
  }
  return nullptr;
}

ScriptedDecode::ScriptedDecode(std::string name, HandoffService& streams, LocalFabric& fabric)
    : name_(std::move(name)), streams_(streams), transport_(fabric), runner_({.page_count = 256}) {
  Listen();
  const auto endpoint = transport_.Listen(
      name_ + "-kv", [this](std::unique_ptr<IncomingSlab> slab) { OnSlab(std::move(slab)); });
  EXPECT_TRUE(endpoint.ok());
}

void ScriptedDecode::Listen() {
  streams_.Listen(name_, [this](auto stream, TimePoint) {
    ++streams_opened;
    stream_ = std::move(stream);
    return [this](StreamEvent<v1::HandoffRequest> event) {
      if (const auto* request = std::get_if<v1::HandoffRequest>(&event)) OnRequest(*request);
    };
  });
}

void ScriptedDecode::Send(v1::HandoffResponse response, std::optional<uint32_t> attempt) {
  v1::HandoffRequest open = transfers_.at(last_).open;
  if (attempt) open.set_attempt(*attempt);
  Answer(open, std::move(response));
}

void ScriptedDecode::Answer(const v1::HandoffRequest& open, v1::HandoffResponse response) {
  response.set_transfer_id(open.transfer_id());
  response.set_attempt(open.attempt());
  (void)stream_->Send(std::move(response));
}

void ScriptedDecode::Grant() {
  v1::HandoffResponse response;
  response.mutable_grant()->set_wire_format(script.wire_format);
  response.mutable_grant()->set_first_wanted(script.first_wanted);
  response.mutable_grant()->set_max_slab_bytes(script.max_slab_bytes);
  Send(std::move(response));
}

void ScriptedDecode::Refuse(v1::RefuseCode code) {
  v1::HandoffResponse response;
  response.mutable_refuse()->set_code(code);
  Send(std::move(response));
}

void ScriptedDecode::Renew(const std::vector<TransferId>& ids) {
  v1::HandoffResponse response;
  response.mutable_renew();
  for (const TransferId& id : ids) {
    *response.mutable_renew()->add_transfer_ids() = id.ToBytes();
  }
  (void)stream_->Send(std::move(response));
}

int ScriptedDecode::count(v1::HandoffRequest::MessageCase kind) const {
  int n = 0;
  for (const auto& request : received) n += request.message_case() == kind;
  return n;
}

const v1::HandoffRequest* ScriptedDecode::last(v1::HandoffRequest::MessageCase kind) const {
  for (auto it = received.rbegin(); it != received.rend(); ++it) {
    if (it->message_case() == kind) return &*it;
  }
  return nullptr;
}

void ScriptedDecode::OnRequest(const v1::HandoffRequest& request) {
  received.push_back(request);
  v1::HandoffResponse response;
  switch (request.message_case()) {
    case v1::HandoffRequest::kHello:
      *response.mutable_accepted()->mutable_decode() = request.hello().decode();
      (void)stream_->Send(std::move(response));
      return;
    case v1::HandoffRequest::kOpen: {
      last_ = request.transfer_id();
      Transfer& transfer = transfers_[last_] = {.open = request};
      transfer.pages.resize((request.open().prompt_tokens() + 15) / 16 + 1);
      std::iota(transfer.pages.begin(), transfer.pages.end(), next_page_);
      next_page_ += static_cast<int>(transfer.pages.size());
      if (script.grant) Grant();
      return;
    }
    case v1::HandoffRequest::kNeedCredit:
      response.mutable_credit()->set_slab(request.need_credit().slab());
      if (script.credit) Answer(request, std::move(response));
      return;
    case v1::HandoffRequest::kCommit:
      transfers_.at(request.transfer_id()).commit = request.commit();
      return CommitIfComplete(transfers_.at(request.transfer_id()));
    default:
      return;
  }
}

void ScriptedDecode::OnSlab(std::unique_ptr<IncomingSlab> slab) {
  const auto decoded = kernels::DecodeSlabHeader(slab->header(), runner_.kv().geometry.head_dim);
  const auto* header = std::get_if<kernels::SlabHeader>(&decoded);
  if (header == nullptr || header->payload_bytes != slab->payload_bytes()) {
    ++bad_slabs;
    return;
  }
  const std::string id(reinterpret_cast<const char*>(header->transfer_id.data()), 16);
  const auto found = transfers_.find(id);
  // Destroying the handle refuses.
  if (found == transfers_.end() || header->attempt != found->second.open.attempt()) return;
  auto payload = std::make_shared<std::vector<std::byte>>(slab->payload_bytes());
  slab->Accept(*payload,
               [this, &transfer = found->second, header = *header, payload](absl::Status status) {
                 if (status.ok()) OnLanded(transfer, header, *payload);
               });
}

void ScriptedDecode::OnLanded(Transfer& transfer, const kernels::SlabHeader& header,
                              const std::vector<std::byte>& payload) {
  const KvBlock block{.first_layer = static_cast<int>(header.range.l0),
                      .end_layer = static_cast<int>(header.range.l1),
                      .first_head = static_cast<int>(header.range.h0),
                      .end_head = static_cast<int>(header.range.h1),
                      .first_token = static_cast<int>(header.range.t0),
                      .end_token = static_cast<int>(header.range.t1),
                      .pages = transfer.pages};
  const auto checksum = runner_.Scatter(block, header.formats, payload);
  if (*checksum + kernels::HeaderChecksum(header) != header.checksum) ++bad_slabs;
  transfer.digest += kernels::DigestTerm(header.checksum, header.slab_number);
  ++transfer.slabs;
  v1::HandoffResponse response;
  response.mutable_ack()->set_slab(header.slab_number);
  response.mutable_ack()->set_code(v1::ACK_CODE_OK);
  if (script.ack) Answer(transfer.open, std::move(response));
  CommitIfComplete(transfer);
}

void ScriptedDecode::CommitIfComplete(Transfer& transfer) {
  if (!script.commit || !transfer.commit || transfer.slabs != transfer.commit->slabs()) return;
  EXPECT_EQ(transfer.commit->digest(), transfer.digest);
  v1::HandoffResponse response;
  response.mutable_committed()->set_first_token(transfer.commit->first_token());
  Answer(transfer.open, std::move(response));
}

int32_t ScriptedDecode::NextToken(const std::vector<int32_t>& tokens) {
  Batch batch;
  batch.entries.push_back({.tokens = std::span(tokens).last(1),
                           .first_position = static_cast<int>(tokens.size()) - 1,
                           .pages = transfers_.at(last_).pages,
                           .sample = true,
                           .sampling = {.temperature = 0}});
  return runner_.Run(batch)->sampled[0]->token;
}

PrefillWorker::Config PrefillHarness::DefaultConfig() {
  PrefillWorker::Config config;
  config.self.set_worker_id("p0");
  config.self.set_incarnation(kPrefillIncarnation);
  config.contract.mutable_geometry()->set_layers(2);
  config.contract.mutable_geometry()->set_kv_heads(2);
  config.contract.mutable_geometry()->set_head_dim(16);
  config.contract.mutable_producer()->set_scheme("w8a8");
  for (v1::KvFormat format : {v1::KV_FORMAT_FP16, v1::KV_FORMAT_INT8}) {
    config.contract.add_wire_formats(format);
  }
  config.limits = {.vocab_size = 1000, .max_context = 2048, .eos_token_ids = {999}};
  config.chunk_tokens = 32;
  config.max_queue = 4;
  config.slab_bytes = 4096;
  config.arena_bytes = 16384;
  return config;
}

FakeRunner::Config PrefillHarness::DefaultRunner() { return {.page_count = 16}; }

PrefillHarness::PrefillHarness(PrefillWorker::Config config, FakeRunner::Config runner_config)
    : runner_config(runner_config), runner(runner_config) {
  d0 = std::make_unique<ScriptedDecode>("d0", handoff_streams, fabric);
  d1 = std::make_unique<ScriptedDecode>("d1", handoff_streams, fabric);
  auto created = PrefillWorker::Create(
      std::move(config),
      {runner, executor, mailbox, clock, transport,
       [this](const std::string& endpoint, TimePoint deadline, StreamSink<v1::HandoffResponse> s) {
         return handoff_streams.Open(endpoint, deadline, std::move(s));
       },
       logger, metrics});
  EXPECT_TRUE(created.ok()) << created.status();
  worker = *std::move(created);
  prefill_streams.Listen("p0", worker->acceptor());
}

PrefillHarness::~PrefillHarness() {
  worker->Shutdown(absl::UnavailableError("end of the test"));
  transport.Close();
  mailbox.Stop();
  executor.Drop();
}

v1::PrefillRequest PrefillHarness::StartMessage(const Request& request) {
  v1::PrefillRequest message;
  v1::PrefillStart& start = *message.mutable_start();
  start.set_transfer_id(TransferId{0, request.id}.ToBytes());
  start.set_attempt(request.attempt);
  start.set_incarnation(kPrefillIncarnation);
  start.mutable_request()->set_request_id(fmt::format("r{}", request.id));
  start.mutable_request()->set_tenant(request.tenant);
  for (int32_t token : request.prompt) start.mutable_request()->add_prompt(token);
  v1::SamplingParams& sampling = *start.mutable_request()->mutable_sampling();
  sampling.set_top_p(1);
  sampling.set_max_tokens(request.max_tokens);
  for (int32_t token : request.stop_ids) sampling.add_stop_token_ids(token);
  if (!request.decode.empty()) SetPeer(*start.mutable_decode(), request.decode);
  if (request.forced) start.set_forced_first_token(*request.forced);
  return message;
}

std::unique_ptr<RouterStream> PrefillHarness::Open(Duration timeout) {
  auto end = std::make_unique<RouterStream>();
  end->stream = prefill_streams.Open(
      "p0", clock.Now() + timeout, [end = end.get()](StreamEvent<v1::PrefillResponse> event) {
        if (auto* closed = std::get_if<StreamClosed>(&event)) {
          end->closed = closed->status;
        } else {
          end->messages.push_back(std::get<v1::PrefillResponse>(std::move(event)));
        }
      });
  return end;
}

std::unique_ptr<RouterStream> PrefillHarness::Start(const Request& request) {
  auto stream = Open(request.timeout);
  stream->Send(StartMessage(request));
  return stream;
}

void PrefillHarness::Deliver() {
  do {
    mailbox.RunAll();
    worker->Tick();
  } while (mailbox.RunAll() > 0);
}

void PrefillHarness::Settle() {
  do {
    Deliver();
  } while (executor.RunAll() > 0);
}

void PrefillHarness::Advance(Duration d) {
  clock.Advance(d);
  Deliver();
}

int32_t PrefillHarness::Expected(const std::vector<int32_t>& tokens) const {
  return FakeRunner::NextToken(runner_config, tokens, {.temperature = 0});
}

std::vector<int32_t> MakePrompt(int count, int seed) {
  std::vector<int32_t> prompt(count);
  for (int i = 0; i < count; ++i) prompt[i] = (seed * 131 + i * 7) % 900;
  return prompt;
}

}  // namespace baton
