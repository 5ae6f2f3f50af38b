#include "common/cluster/descriptor.h"

#include <algorithm>
#include <string_view>

#include "common/base/status.h"
#include "common/cluster/model_probe.h"

namespace baton {
namespace {

constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxEndpointBytes = 256;
constexpr size_t kMaxDigestBytes = 64;
constexpr int kMaxEosTokens = 64;
constexpr int kMaxLayers = 4096;
constexpr int kMaxWireFormats = 16;

bool IsGraphic(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

absl::Status CheckName(std::string_view field, std::string_view value, size_t limit) {
  if (value.empty() || value.size() > limit || !IsGraphic(value)) {
    return InvalidArgument("{}: {} bytes, expected 1 to {} printable ASCII characters", field,
                           value.size(), limit);
  }
  return absl::OkStatus();
}

absl::Status CheckDigest(std::string_view field, std::string_view value) {
  if (value.size() > kMaxDigestBytes) {
    return InvalidArgument("{}: {} bytes, expected at most {}", field, value.size(),
                           kMaxDigestBytes);
  }
  return absl::OkStatus();
}

absl::Status ValidateContract(const v1::KvContract& contract) {
  BATON_RETURN_IF_ERROR(
      CheckName("contract.model.architecture", contract.model().architecture(), kMaxNameBytes));
  BATON_RETURN_IF_ERROR(
      CheckDigest("contract.model.tokenizer_digest", contract.model().tokenizer_digest()));
  BATON_RETURN_IF_ERROR(
      CheckDigest("contract.model.source_digest", contract.model().source_digest()));
  BATON_RETURN_IF_ERROR(
      CheckDigest("contract.geometry.rope_digest", contract.geometry().rope_digest()));
  BATON_RETURN_IF_ERROR(
      CheckDigest("contract.producer.weights_digest", contract.producer().weights_digest()));
  if (const absl::Status probe = ValidateProbe(contract.model().probe()); !probe.ok()) {
    return InvalidArgument("contract.model.{}", MessageOf(probe));
  }
  if (contract.wire_formats_size() < 1 || contract.wire_formats_size() > kMaxWireFormats) {
    return InvalidArgument("contract.wire_formats: {} entries, expected 1 to {}",
                           contract.wire_formats_size(), kMaxWireFormats);
  }
  if (contract.geometry().sliding_windows_size() > kMaxLayers) {
    return InvalidArgument("contract.geometry.sliding_windows: {} entries, expected at most {}",
                           contract.geometry().sliding_windows_size(), kMaxLayers);
  }
  return absl::OkStatus();
}

}  // namespace

WorkerKey KeyOf(const v1::WorkerIdentity& identity) {
  return {WorkerId(identity.worker_id()), Incarnation(identity.incarnation())};
}

v1::WorkerIdentity IdentityOf(const WorkerKey& key) {
  v1::WorkerIdentity identity;
  identity.set_worker_id(key.id.value());
  identity.set_incarnation(key.incarnation.value());
  return identity;
}

std::string ToString(const WorkerKey& key) {
  return fmt::format("{}/{:016x}", key.id.value(), key.incarnation.value());
}

absl::Status ValidateDescriptor(const v1::WorkerDescriptor& descriptor) {
  BATON_RETURN_IF_ERROR(
      CheckName("identity.worker_id", descriptor.identity().worker_id(), kMaxNameBytes));
  BATON_RETURN_IF_ERROR(CheckName("model", descriptor.model(), kMaxNameBytes));
  BATON_RETURN_IF_ERROR(CheckName("rpc_endpoint", descriptor.rpc_endpoint(), kMaxEndpointBytes));
  if (descriptor.role() != v1::ROLE_PREFILL && descriptor.role() != v1::ROLE_DECODE) {
    return InvalidArgument("role: {}, expected prefill (1) or decode (2)",
                           static_cast<int>(descriptor.role()));
  }
  if (descriptor.role() == v1::ROLE_DECODE) {
    BATON_RETURN_IF_ERROR(CheckName("kv_endpoint", descriptor.kv_endpoint(), kMaxEndpointBytes));
  }
  if (descriptor.max_context() < 1) {
    return InvalidArgument("max_context: 0, expected at least 1");
  }
  if (descriptor.eos_token_ids_size() > kMaxEosTokens) {
    return InvalidArgument("eos_token_ids: {} entries, expected at most {}",
                           descriptor.eos_token_ids_size(), kMaxEosTokens);
  }
  return ValidateContract(descriptor.contract());
}

}  // namespace baton
