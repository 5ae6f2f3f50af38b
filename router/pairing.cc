#include "router/pairing.h"

#include <algorithm>

#include "common/base/status.h"

namespace baton {
namespace {

std::string_view RoleName(v1::Role role) { return role == v1::ROLE_PREFILL ? "prefill" : "decode"; }

}  // namespace

Pairing::Assignment::Assignment(Pairing& pairing, WorkerKey key)
    : pairing_(&pairing), key_(std::move(key)) {
  ++pairing_->assigned_[key_];
}

Pairing::Assignment& Pairing::Assignment::operator=(Assignment&& other) noexcept {
  std::swap(pairing_, other.pairing_);
  std::swap(key_, other.key_);
  return *this;
}

Pairing::Assignment::~Assignment() {
  if (pairing_ == nullptr) return;
  const auto it = pairing_->assigned_.find(key_);
  if (--it->second == 0) pairing_->assigned_.erase(it);
}

uint32_t Pairing::assigned(const WorkerKey& key) const {
  const auto it = assigned_.find(key);
  return it == assigned_.end() ? 0 : it->second;
}

// A report is up to half a second old: what this router has sent since counts too, and what other
// routers sent shows only there.
uint32_t Pairing::LoadOf(const WorkerView& view) const {
  return std::max(assigned(view.key()), view.load.running() + view.load.queued());
}

bool Pairing::IsFull(const WorkerView& view) const {
  const uint32_t limit = view.descriptor->max_queue();
  const uint32_t load = LoadOf(view);
  const uint32_t running = std::min(view.load.running(), load);
  return limit > 0 && load - running >= limit;
}

const ContractCheck& Pairing::Check(const v1::WorkerDescriptor& prefill,
                                    const v1::WorkerDescriptor& decode) {
  auto key = std::make_pair(KeyOf(prefill.identity()), KeyOf(decode.identity()));
  auto it = checks_.find(key);
  if (it == checks_.end()) {
    it = checks_.emplace(std::move(key), CheckContracts(prefill.contract(), decode.contract()))
             .first;
    // An empty optional is below every value.
    largest_probe_distance_ = std::max(largest_probe_distance_, it->second.probe_distance);
  }
  return it->second;
}

absl::StatusOr<std::vector<Pairing::Option>> Pairing::Options(v1::Role role, const WorkerRef& given,
                                                              const PairQuery& query) const {
  std::vector<Option> options;
  if (given != nullptr) {
    // A worker that already has the request keeps it in whatever state it is.
    options.push_back({given, Candidate{}, true});
    return options;
  }
  uint32_t longest = 0;
  // A late report is more often a busy machine than a dead worker: better a late one than none.
  for (const bool late : {false, true}) {
    for (const WorkerView& view : *snapshot_) {
      if (view.descriptor->role() != role) continue;
      if (late ? !view.late() : view.state != WorkerState::kReady) continue;
      longest = std::max(longest, view.descriptor->max_context());
      if (view.descriptor->max_context() < query.tokens) continue;
      const bool excluded = query.excluded != nullptr && query.excluded->contains(view.key());
      options.push_back({view.descriptor,
                         {LoadOf(view), view.load.queued_prompt_tokens()},
                         !excluded && !IsFull(view)});
    }
    if (!options.empty()) return options;
    if (longest > 0) {
      return InvalidArgument(
          "max_tokens: {} tokens with the prompt, expected at most {} (the context of the {} "
          "workers)",
          query.tokens, longest, RoleName(role));
    }
  }
  return Unavailable("no {} worker is ready", RoleName(role));
}

WorkerRef Pairing::Choose(const std::vector<const Option*>& options, uint64_t& draw) const {
  if (options.size() == 1) return options.front()->worker;
  std::vector<Candidate> candidates;
  candidates.reserve(options.size());
  for (const Option* option : options) candidates.push_back(option->load);
  return options[policy_.Pick(candidates, draw++)]->worker;
}

absl::StatusOr<WorkerPair> Pairing::Pick(const PairQuery& query) {
  snapshot_ = membership_.Snapshot();
  // Keys name one life of a worker, whose contract never changes: only the gone ones are stale.
  if (checks_.size() > 4 * snapshot_->size() * snapshot_->size()) checks_.clear();
  BATON_ASSIGN_OR_RETURN(const std::vector<Option> prefills,
                         Options(v1::ROLE_PREFILL, query.prefill, query));
  std::vector<Option> decodes;
  if (query.needs_decode) {
    BATON_ASSIGN_OR_RETURN(decodes, Options(v1::ROLE_DECODE, query.decode, query));
  }
  std::vector<const Option*> free_prefills, free_decodes;
  for (const Option& p : prefills) {
    const auto suits = [&](const Option& d) { return d.free && Check(*p.worker, *d.worker).ok(); };
    if (!p.free) continue;
    if (!query.needs_decode || std::any_of(decodes.begin(), decodes.end(), suits)) {
      free_prefills.push_back(&p);
    }
  }
  if (free_prefills.empty()) return NoPair(prefills, decodes);
  WorkerPair pair;
  pair.prefill = Choose(free_prefills, prefill_draw_);
  if (!query.needs_decode) return pair;
  for (const Option& d : decodes) {
    if (d.free && Check(*pair.prefill, *d.worker).ok()) free_decodes.push_back(&d);
  }
  pair.decode = Choose(free_decodes, decode_draw_);
  return pair;
}

bool Pairing::HasPair() {
  const absl::StatusCode code = Pick({}).status().code();
  return code == absl::StatusCode::kOk || code == absl::StatusCode::kResourceExhausted;
}

absl::Status Pairing::NoPair(const std::vector<Option>& prefills,
                             const std::vector<Option>& decodes) {
  const ContractCheck* refusal = nullptr;
  for (const Option& p : prefills) {
    for (const Option& d : decodes) {
      const ContractCheck& check = Check(*p.worker, *d.worker);
      if (check.ok()) return ResourceExhausted("all workers that could take the request are full");
      if (refusal == nullptr) refusal = &check;
    }
  }
  if (refusal == nullptr) {
    return ResourceExhausted("all workers that could take the request are full");
  }
  return FailedPrecondition("no prefill worker may hand KV to a decode worker: {}",
                            Describe(refusal->mismatches));
}

}  // namespace baton
