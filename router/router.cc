#include "router/router.h"

#include <algorithm>

#include "common/base/pushback.h"
#include "common/base/status.h"

namespace baton {
namespace {

constexpr Duration kSweepPeriod = std::chrono::milliseconds(100);

}  // namespace

Router::Router(Config config, Clock& clock, Mailbox& mailbox, Logger& logger,
               const TextCodec* codec, const RoutingPolicy& policy, MetricRegistry& metrics,
               LiveRequest::Openers openers)
    : config_(std::move(config)),
      clock_(clock),
      mailbox_(mailbox),
      logger_(logger),
      codec_(codec),
      openers_(std::move(openers)),
      hooks_{
          .requeued = [this](LiveRequest& request) { queue_.insert(request.number()); },
          .has_output = [this](LiveRequest& request) { with_output_.push_back(request.number()); },
          .completed = [this](const v1::Complete& complete) { metrics_.Completed(complete); },
          .settled = [this](LiveRequest& request,
                            const absl::Status& status) { OnSettled(request, status); }},
      registry_(
          config_.registry, clock, mailbox, logger,
          [this](const v1::WorkerDescriptor& descriptor) { return AdmitWorker(descriptor); },
          [this] { dispatch_due_ = true; }),
      pairing_(registry_.membership(), policy),
      rng_(config_.seed),
      metrics_(metrics) {}

StreamAcceptor<v1::GenerateResponse, v1::GenerateRequest> Router::GenerateAcceptor() {
  return [this](std::shared_ptr<ClientStream> stream, TimePoint deadline) {
    auto call = std::make_shared<Call>();
    call->stream = std::move(stream);
    call->deadline = deadline;
    return [this, call](StreamEvent<v1::GenerateRequest> event) {
      mailbox_.Post([this, call, event = std::move(event)]() mutable {
        OnClientEvent(*call, std::move(event));
      });
    };
  };
}

void Router::OnClientEvent(Call& call, StreamEvent<v1::GenerateRequest> event) {
  if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    if (call.stream != nullptr) {
      call.stream->Close(InvalidArgument("request: none came, expected one"));
      call.stream.reset();
    }
    // OK is the half-close after the one request.
    if (closed->status.ok()) return;
    const auto it = requests_.find(call.number);
    if (it == requests_.end()) return;
    it->second->Cancel(v1::CANCEL_REASON_CLIENT, Cancelled("the client went away"));
    return;
  }
  if (call.stream == nullptr) return;
  const absl::Status admitted = Admit(call, std::get<v1::GenerateRequest>(event));
  if (admitted.ok()) return;
  ++stats_.refused;
  metrics_.Ended(admitted);
  call.stream->Close(admitted);
  call.stream.reset();
}

absl::Status Router::Admit(Call& call, const v1::GenerateRequest& request) {
  const TimePoint now = clock_.Now();
  if (draining_) return Unavailable("the router is draining");
  if (call.deadline <= now) return DeadlineExceeded("the deadline passed before admission");
  BATON_ASSIGN_OR_RETURN(const ModelInfo model, Model());
  BATON_ASSIGN_OR_RETURN(RequestSpec spec,
                         ValidateRequest(request, model, codec_, config_.limits, rng_));
  BATON_ASSIGN_OR_RETURN(OutputText text, OutputText::Create(spec, codec_));
  if (ids_.contains(spec.worker.request_id())) {
    return AlreadyExists("request_id: '{}' is live, expected an unused one",
                         spec.worker.request_id());
  }
  if (queue_.size() >= config_.max_queue) {
    return WithPushback(ResourceExhausted("queue: {} requests wait, the limit is {}", queue_.size(),
                                          config_.max_queue),
                        config_.pushback);
  }
  const uint64_t number = next_number_++;
  const TimePoint deadline = std::min(call.deadline, now + config_.default_timeout);
  Answer answer(std::move(text), model.vocab_size, spec.worker.sampling().want_logprobs(), now);
  auto live = std::make_unique<LiveRequest>(
      LiveRequest::Init{number, deadline, std::move(call.stream),
                        RequestFlow::Config{config_.max_retries}, std::move(spec)},
      std::move(answer), openers_, pairing_, clock_, mailbox_, hooks_);
  call.number = number;
  call.stream = nullptr;
  ++stats_.accepted;
  ids_.emplace(live->id(), number);
  deadlines_.emplace(deadline, number);
  LiveRequest& entry = *requests_.emplace(number, std::move(live)).first->second;
  // Nobody overtakes a request that waits.
  if (!queue_.empty() || !entry.TryDispatch(TransferId::Random(rng_)).ok()) {
    if (!entry.flow().settled()) queue_.insert(number);
  }
  return absl::OkStatus();
}

absl::Status Router::Abort(const std::string& request_id) {
  const auto it = ids_.find(request_id);
  if (it == ids_.end()) return NotFound("request_id: '{}' is not live", request_id.substr(0, 128));
  requests_.at(it->second)->Cancel(v1::CANCEL_REASON_CLIENT, Cancelled("aborted"));
  return absl::OkStatus();
}

absl::StatusOr<ModelInfo> Router::Model() const {
  ModelInfo model = config_.model;
  if (model.vocab_size > 0 && model.max_context > 0) return model;
  uint32_t longest = 0;
  for (const WorkerView& view : *registry_.membership().Snapshot()) {
    const v1::WorkerDescriptor& worker = *view.descriptor;
    if (view.state == WorkerState::kLost) continue;
    model.vocab_size = worker.contract().model().vocab_size();
    model.architecture = worker.contract().model().architecture();
    model.eos_token_ids.assign(worker.eos_token_ids().begin(), worker.eos_token_ids().end());
    longest = std::max(longest, worker.max_context());
  }
  if (longest == 0) return Unavailable("no worker has registered");
  model.max_context = longest;
  return model;
}

v1::GetLoadResponse Router::Load() const {
  v1::GetLoadResponse response;
  for (const WorkerView& view : *registry_.membership().Snapshot()) {
    v1::WorkerLoad& worker = *response.add_workers();
    worker.set_worker_id(view.descriptor->identity().worker_id());
    worker.set_role(view.descriptor->role());
    worker.set_state(std::string(ToString(view.state)));
    worker.set_running(view.load.running());
    worker.set_queued(view.load.queued());
    worker.set_pages_total(view.load.pages_total());
    worker.set_pages_free(view.load.pages_free());
  }
  response.set_queued_requests(static_cast<uint32_t>(queue_.size()));
  response.set_live_requests(static_cast<uint32_t>(ids_.size()));
  return response;
}

bool Router::ready() { return !draining_ && Model().ok() && pairing_.HasPair(); }

absl::Status Router::AdmitWorker(const v1::WorkerDescriptor& descriptor) const {
  if (descriptor.model() != config_.model.name) {
    return InvalidArgument("model: '{}', expected '{}'", descriptor.model().substr(0, 128),
                           config_.model.name);
  }
  const uint32_t vocab_size = descriptor.contract().model().vocab_size();
  const absl::StatusOr<ModelInfo> model = Model();
  const uint32_t expected = model.ok() ? model->vocab_size : config_.model.vocab_size;
  if (vocab_size == 0 || (expected > 0 && vocab_size != expected)) {
    return InvalidArgument("contract.model.vocab_size: {}, expected {}", vocab_size, expected);
  }
  return absl::OkStatus();
}

void Router::OnSettled(LiveRequest& request, const absl::Status& status) {
  queue_.erase(request.number());
  ids_.erase(request.id());
  deadlines_.erase({request.deadline(), request.number()});
  ending_.push_back(request.number());
  dispatch_due_ = true;
  ++(status.ok() ? stats_.completed : stats_.failed);
  stats_.retries += request.flow().retries();
  stats_.tokens += request.flow().delivered_tokens();
  metrics_.Ended(status);
  metrics_.Settled(request.flow().retries(), request.flow().delivered_tokens(), status);
  logger_.Log(status.ok() ? LogLevel::kDebug : LogLevel::kInfo, "request_ended",
              {{"request", request.id()},
               {"attempt", request.flow().attempt()},
               {"tokens", request.flow().delivered_tokens()},
               {"status", ToString(status)}});
}

void Router::Tick() {
  const TimePoint now = clock_.Now();
  for (uint64_t number : with_output_) requests_.at(number)->Flush();
  with_output_.clear();
  ExpireDeadlines(now);
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepPeriod;
    Sweep(now);
  }
  if (dispatch_due_) DispatchQueue();
  std::erase_if(ending_, [this](uint64_t number) {
    const auto it = requests_.find(number);
    if (!it->second->done()) return false;
    requests_.erase(it);
    return true;
  });
}

void Router::ExpireDeadlines(TimePoint now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    requests_.at(deadlines_.begin()->second)
        ->Cancel(v1::CANCEL_REASON_DEADLINE, DeadlineExceeded("the deadline passed"));
  }
}

void Router::Sweep(TimePoint now) {
  for (const WorkerKey& key : registry_.Tick(now)) {
    for (auto& [number, request] : requests_) request->WorkerLost(key);
  }
  for (uint64_t number : ending_) requests_.at(number)->Tick(now);
  uint64_t queued_prompt_tokens = 0;
  for (uint64_t number : queue_) {
    queued_prompt_tokens += requests_.at(number)->flow().spec().worker.prompt_size();
  }
  metrics_.SetLoad(ids_.size(), queue_.size(), queued_prompt_tokens);
  metrics_.SetWorkers(registry_.membership().Snapshot());
  if (const auto distance = pairing_.largest_probe_distance()) {
    metrics_.SetProbeDivergence(*distance);
  }
  if (now >= drain_deadline_) CancelAll();
  dispatch_due_ = true;
}

void Router::DispatchQueue() {
  dispatch_due_ = false;
  while (!queue_.empty()) {
    LiveRequest& head = *requests_.at(*queue_.begin());
    const absl::Status status = head.TryDispatch(TransferId::Random(rng_));
    if (status.code() == absl::StatusCode::kResourceExhausted) return;
    queue_.erase(head.number());
  }
}

void Router::Drain(TimePoint deadline) {
  draining_ = true;
  drain_deadline_ = std::min(drain_deadline_, deadline);
}

void Router::CancelAll() {
  while (!ids_.empty()) {
    requests_.at(deadlines_.begin()->second)
        ->Cancel(v1::CANCEL_REASON_FAILED, Unavailable("the router shut down"));
  }
}

void Router::Close() {
  draining_ = true;
  CancelAll();
  registry_.Close(Unavailable("the router shut down"));
}

}  // namespace baton
