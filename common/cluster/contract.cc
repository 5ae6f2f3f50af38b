#include "common/cluster/contract.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "common/cluster/model_probe.h"

namespace baton {
namespace {

constexpr size_t kMaxShownBytes = 64;

std::string Hex(const std::string& bytes) {
  if (bytes.empty()) return "(unknown)";
  std::string hex;
  for (unsigned char c : bytes.substr(0, kMaxShownBytes)) hex += fmt::format("{:02x}", c);
  return hex;
}

std::string Quoted(const std::string& text) {
  return fmt::format("'{}'", text.substr(0, kMaxShownBytes));
}

std::string WireFormats(const v1::KvContract& contract) {
  std::vector<std::string> names;
  for (int format : contract.wire_formats()) {
    names.push_back(FormatName(static_cast<v1::KvFormat>(format)));
  }
  return fmt::format("[{}]", fmt::join(names, ", "));
}

std::string Windows(const v1::KvGeometry& geometry) {
  return fmt::format("[{}]", fmt::join(geometry.sliding_windows(), ", "));
}

// Empty and all zeros both mean that no layer has a window.
bool SameWindows(const v1::KvGeometry& a, const v1::KvGeometry& b) {
  const auto none = [](const v1::KvGeometry& g) {
    return std::all_of(g.sliding_windows().begin(), g.sliding_windows().end(),
                       [](uint32_t window) { return window == 0; });
  };
  if (none(a) || none(b)) return none(a) && none(b);
  return std::equal(a.sliding_windows().begin(), a.sliding_windows().end(),
                    b.sliding_windows().begin(), b.sliding_windows().end());
}

class Comparison {
 public:
  void Refuse(std::string_view field, std::string left, std::string right) {
    v1::Mismatch& mismatch = result.mismatches.emplace_back();
    mismatch.set_field(std::string(field));
    mismatch.set_left(std::move(left));
    mismatch.set_right(std::move(right));
  }
  void Number(std::string_view field, uint64_t left, uint64_t right) {
    if (left != right) Refuse(field, fmt::to_string(left), fmt::to_string(right));
  }
  void Text(std::string_view field, const std::string& left, const std::string& right) {
    if (left != right) Refuse(field, Quoted(left), Quoted(right));
  }
  void Digest(std::string_view field, const std::string& left, const std::string& right) {
    if (left != right) Refuse(field, Hex(left), Hex(right));
  }

  ContractCheck result;
};

void CompareSource(const v1::KvContract& prefill, const v1::KvContract& decode, Comparison& c) {
  const std::string& left = prefill.model().source_digest();
  const std::string& right = decode.model().source_digest();
  const bool left_vouched = !left.empty() || prefill.trust_model_identity();
  const bool right_vouched = !right.empty() || decode.trust_model_identity();
  if (!left.empty() && !right.empty()) return c.Digest("model.source_digest", left, right);
  if (left_vouched && right_vouched) return;
  const std::optional<double>& distance = c.result.probe_distance;
  if (distance && *distance <= kProbeBound) return;
  c.Refuse("model.source_digest", Hex(left), Hex(right));
  if (distance) {
    c.Refuse("model.probe", fmt::format("differs by {:.3f} nats", *distance),
             fmt::format("expected at most {}", kProbeBound));
  }
}

void CompareGeometry(const v1::KvGeometry& prefill, const v1::KvGeometry& decode, Comparison& c) {
  c.Number("geometry.layers", prefill.layers(), decode.layers());
  c.Number("geometry.kv_heads", prefill.kv_heads(), decode.kv_heads());
  c.Number("geometry.head_dim", prefill.head_dim(), decode.head_dim());
  c.Digest("geometry.rope_digest", prefill.rope_digest(), decode.rope_digest());
  if (!SameWindows(prefill, decode)) {
    c.Refuse("geometry.sliding_windows", Windows(prefill), Windows(decode));
  }
}

void AgreeOnWire(const v1::KvContract& prefill, const v1::KvContract& decode, Comparison& c) {
  for (int wanted : decode.wire_formats()) {
    const auto& offered = prefill.wire_formats();
    if (wanted != v1::KV_FORMAT_UNSPECIFIED && v1::KvFormat_IsValid(wanted) &&
        std::find(offered.begin(), offered.end(), wanted) != offered.end()) {
      c.result.wire_format = static_cast<v1::KvFormat>(wanted);
      return;
    }
  }
  c.Refuse("wire_formats", WireFormats(prefill), WireFormats(decode));
}

}  // namespace

std::string FormatName(v1::KvFormat format) {
  switch (format) {
    case v1::KV_FORMAT_UNSPECIFIED:
      return "unspecified";
    case v1::KV_FORMAT_FP16:
      return "fp16";
    case v1::KV_FORMAT_BF16:
      return "bf16";
    case v1::KV_FORMAT_FP8_E4M3:
      return "fp8_e4m3";
    case v1::KV_FORMAT_FP8_E5M2:
      return "fp8_e5m2";
    case v1::KV_FORMAT_INT8:
      return "int8";
    case v1::KV_FORMAT_INT4:
      return "int4";
    case v1::KV_FORMAT_K8V4:
      return "k8v4";
    default:
      return fmt::format("format {}", static_cast<int>(format));
  }
}

ContractCheck CheckContracts(const v1::KvContract& prefill, const v1::KvContract& decode) {
  Comparison c;
  c.result.probe_distance = ProbeDistance(prefill.model().probe(), decode.model().probe());
  c.Number("protocol_version", prefill.protocol_version(), decode.protocol_version());
  c.Text("model.architecture", prefill.model().architecture(), decode.model().architecture());
  c.Digest("model.tokenizer_digest", prefill.model().tokenizer_digest(),
           decode.model().tokenizer_digest());
  CompareSource(prefill, decode, c);
  c.Number("model.vocab_size", prefill.model().vocab_size(), decode.model().vocab_size());
  CompareGeometry(prefill.geometry(), decode.geometry(), c);
  c.Number("scale_layout", prefill.scale_layout(), decode.scale_layout());
  AgreeOnWire(prefill, decode, c);
  if (!c.result.ok()) c.result.wire_format = v1::KV_FORMAT_UNSPECIFIED;
  return std::move(c.result);
}

std::string Describe(const std::vector<v1::Mismatch>& mismatches) {
  std::string text;
  for (const v1::Mismatch& m : mismatches) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{}: prefill {}, decode {}", m.field(), m.left(), m.right());
  }
  return text;
}

}  // namespace baton
