#include "common/worker/kv_contract.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/cluster/contract.h"
#include "common/handoff/wire_format.h"
#include "common/model/architecture.h"
#include "common/quant/weight_format.h"

namespace baton {
namespace {

// Formats the kernels convert from and to, the most exact first.
constexpr v1::KvFormat kConvertible[] = {
    v1::KV_FORMAT_FP16,     v1::KV_FORMAT_BF16, v1::KV_FORMAT_INT8, v1::KV_FORMAT_FP8_E4M3,
    v1::KV_FORMAT_FP8_E5M2, v1::KV_FORMAT_K8V4, v1::KV_FORMAT_INT4};

std::string BytesOf(const Digest& digest) {
  std::string bytes;
  for (uint64_t half : {digest.high, digest.low}) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(half >> shift));
  }
  return bytes;
}

std::string RopeDigest(const ModelConfig& model) {
  const std::vector<float> frequencies = InverseFrequencies(model.rope, model.head_dim);
  return BytesOf(DigestOf(std::as_bytes(std::span(frequencies))));
}

}  // namespace

absl::StatusOr<ModelDigests> ReadModelDigests(const Checkpoint& checkpoint,
                                              const std::filesystem::path& folder) {
  ModelDigests digests;
  BATON_ASSIGN_OR_RETURN(digests.tokenizer, TokenizerDigest(folder));
  digests.weights = checkpoint.ComputeDigest();
  digests.source = checkpoint.SourceDigest(digests.weights);
  return digests;
}

v1::KvContract MakeKvContract(const ModelConfig& model, const KvPages& pages,
                              const WorkerOptions& options, const ModelDigests& digests) {
  v1::KvContract contract;
  contract.set_protocol_version(kProtocolVersion);
  v1::ModelIdentity& identity = *contract.mutable_model();
  identity.set_architecture(std::string(model.architecture->name));
  identity.set_tokenizer_digest(BytesOf(digests.tokenizer));
  if (digests.source) identity.set_source_digest(BytesOf(*digests.source));
  identity.set_vocab_size(model.vocab_size);
  v1::KvGeometry& geometry = *contract.mutable_geometry();
  geometry.set_layers(pages.geometry.layers);
  geometry.set_kv_heads(pages.geometry.kv_heads);
  geometry.set_head_dim(pages.geometry.head_dim);
  geometry.set_rope_digest(RopeDigest(model));
  if (model.sliding_window > 0) {
    for (int i = 0; i < model.layers; ++i) geometry.add_sliding_windows(model.sliding_window);
  }
  const v1::KvFormat resident = KvFormatNamed(pages.resident);
  v1::KvProducer& producer = *contract.mutable_producer();
  producer.set_weights_digest(BytesOf(WeightsDigest(digests.weights, options.weights)));
  producer.set_scheme(std::string(NameOf(options.weights)));
  producer.set_kv_format(resident);
  contract.set_resident_format(resident);
  if (options.wire_format) {
    contract.add_wire_formats(KvFormatNamed(*options.wire_format));
  } else {
    contract.add_wire_formats(resident);
    for (v1::KvFormat format : kConvertible) {
      if (format != resident) contract.add_wire_formats(format);
    }
  }
  contract.set_scale_layout(v1::SCALE_LAYOUT_PER_TOKEN_HEAD);
  contract.set_page_tokens(pages.page_tokens);
  contract.set_tp_size(1);
  contract.set_trust_model_identity(options.trust_model_identity);
  return contract;
}

}  // namespace baton
