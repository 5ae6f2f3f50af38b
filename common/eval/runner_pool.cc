#include "common/eval/runner_pool.h"

#include <numeric>
#include <utility>

#include "common/base/status.h"
#include "common/model/checkpoint.h"

namespace baton {
namespace {

constexpr int kPageTokens = 16;

}  // namespace

RunnerPool::RunnerPool(int threads, int sequence_tokens, std::function<void(std::string_view)> note)
    : threads_(threads), sequence_tokens_(sequence_tokens), note_(std::move(note)) {}

absl::StatusOr<std::shared_ptr<const CpuModel>> RunnerPool::Model(const RoleSpec& role) {
  const auto key = std::make_pair(role.model, role.weights);
  if (const auto found = models_.find(key); found != models_.end()) return found->second;
  if (note_) note_(fmt::format("loading {} as {}", role.model, NameOf(role.weights)));
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                         Checkpoint::Open(role.model, {.accept_quantized = true}));
  if (sequence_tokens_ > checkpoint.config().max_positions) {
    return InvalidArgument("{}: sequences of {} tokens, expected at most {} (its context)",
                           role.model, sequence_tokens_, checkpoint.config().max_positions);
  }
  absl::StatusOr<std::shared_ptr<const CpuModel>> model =
      LoadCpuModel(checkpoint, {.format = role.weights, .note = note_}, threads_);
  if (!model.ok()) return Annotate(model.status(), role.model);
  models_.emplace(key, *model);
  return model;
}

absl::StatusOr<EvalRunner*> RunnerPool::Get(const RoleSpec& role) {
  const RunnerKey key{role.model, role.weights, role.kv.k, role.kv.v};
  if (const auto found = runners_.find(key); found != runners_.end()) return &found->second;
  EvalRunner made;
  BATON_ASSIGN_OR_RETURN(made.model, Model(role));
  const int pages = (sequence_tokens_ + kPageTokens - 1) / kPageTokens;
  BATON_ASSIGN_OR_RETURN(made.runner,
                         CpuRunner::Create(made.model, {.resident = role.kv,
                                                        .page_tokens = kPageTokens,
                                                        .page_count = 2 * pages,
                                                        .threads = threads_.threads()}));
  made.prefill_pages.resize(static_cast<size_t>(pages));
  std::iota(made.prefill_pages.begin(), made.prefill_pages.end(), 0);
  made.decode_pages.resize(static_cast<size_t>(pages));
  std::iota(made.decode_pages.begin(), made.decode_pages.end(), pages);
  return &runners_.emplace(key, std::move(made)).first->second;
}

}  // namespace baton
