#include "common/cli/pair_check.h"

#include <optional>

#include "common/base/status.h"
#include "common/model/architecture.h"
#include "common/worker/kv_contract.h"

namespace baton {

absl::StatusOr<v1::KvContract> ContractOf(const ServedRole& role, const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  WorkerOptions options;
  options.model = role.model;
  options.weights = role.weights;
  options.kv_format = role.kv;
  options.wire_format = role.wire;
  options.trust_model_identity = role.trust_model_identity;
  const KvPages pages{.geometry = {config.layers, config.kv_heads, config.head_dim},
                      .resident = role.kv,
                      .page_tokens = options.page_tokens,
                      .page_count = 1};
  BATON_ASSIGN_OR_RETURN(const ModelDigests digests, ReadModelDigests(checkpoint, role.model));
  return MakeKvContract(config, pages, options, digests);
}

absl::Status CheckReference(const std::string& flag, const std::string& reference,
                            const std::vector<std::string>& models) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                         Checkpoint::Open(reference, {.accept_quantized = true}));
  if (checkpoint.quantized()) {
    return InvalidArgument("{}: {} is quantized, expected the model it was made from", flag,
                           reference);
  }
  std::optional<Digest> digest;
  for (const std::string& model : models) {
    if (model == reference) continue;
    BATON_ASSIGN_OR_RETURN(const Checkpoint other,
                           Checkpoint::Open(model, {.accept_quantized = true}));
    std::optional<Digest> base = other.config().origin.source;
    if (!base && !other.quantized()) base = other.ComputeDigest();
    if (!base) continue;  // not recorded
    if (!digest) digest = checkpoint.ComputeDigest();
    if (*base != *digest) {
      return InvalidArgument("{}: {} is not the model that {} was made from", flag, reference,
                             model);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ContractCheck> CheckPair(const ServedRole& prefill, const ServedRole& decode) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint left,
                         Checkpoint::Open(prefill.model, {.accept_quantized = true}));
  BATON_ASSIGN_OR_RETURN(const v1::KvContract from, ContractOf(prefill, left));
  BATON_ASSIGN_OR_RETURN(const Checkpoint right,
                         Checkpoint::Open(decode.model, {.accept_quantized = true}));
  BATON_ASSIGN_OR_RETURN(const v1::KvContract to, ContractOf(decode, right));
  return CheckContracts(from, to);
}

}  // namespace baton
