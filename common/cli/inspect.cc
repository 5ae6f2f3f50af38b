#include "common/cli/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/cli/model_report.h"
#include "common/cli/pair_check.h"

namespace baton {
namespace {

using Json = nlohmann::ordered_json;

// What a field of the contract means to someone who chose two folders.
std::string Reason(const v1::Mismatch& mismatch, const ModelReport& prefill,
                   const ModelReport& decode) {
  const std::string_view field = mismatch.field();
  std::string left = mismatch.left();
  std::string right = mismatch.right();
  std::string_view what = "they differ";
  if (field == "model.source_digest") {
    if (!prefill.source || !decode.source) {
      what = "the base model of one is not recorded";
    } else if (prefill.base == decode.base) {
      what = "different bases of the cache";
    } else {
      what = "different base models";
    }
    left = DigestText(prefill.source, "unknown");
    right = DigestText(decode.source, "unknown");
  } else if (field == "model.tokenizer_digest") {
    what = "different tokenizers";
  } else if (field == "model.architecture") {
    what = "different architectures";
  } else if (field == "model.vocab_size") {
    what = "different vocabularies";
  } else if (field == "geometry.rope_digest") {
    what = "different RoPE";
    left = RopeText(prefill.config.rope);
    right = RopeText(decode.config.rope);
  } else if (field == "geometry.sliding_windows") {
    what = "different attention windows";
  } else if (field.starts_with("geometry.")) {
    what = "different shapes of the cache";
  }
  return fmt::format("{} ({}: prefill {}, decode {})", what, field, left, right);
}

}  // namespace

absl::Status RunInspect(const InspectOptions& options) {
  BATON_ASSIGN_OR_RETURN(const ModelReport report, InspectModel(options.folder));
  Json json = ReportJson(report);
  if (!options.json) fmt::print("{}", ReportText(report));
  if (!options.with) {
    if (options.json) fmt::print("{}\n", json.dump());
    return absl::OkStatus();
  }
  BATON_ASSIGN_OR_RETURN(const ModelReport other, InspectModel(*options.with));
  if (!options.json) fmt::print("\n{}", ReportText(other));
  const auto role = [&](const std::string& folder) {
    return ServedRole{.model = folder, .trust_model_identity = options.trust_model_identity};
  };
  BATON_ASSIGN_OR_RETURN(const ContractCheck check,
                         CheckPair(role(options.folder), role(*options.with)));
  std::vector<std::string> reasons;
  for (const v1::Mismatch& mismatch : check.mismatches) {
    reasons.push_back(Reason(mismatch, report, other));
  }
  if (options.json) {
    json["with"] = ReportJson(other);
    json["pair"] = {{"may_serve", check.ok()}, {"reasons", reasons}};
    fmt::print("{}\n", json.dump());
  } else if (check.ok()) {
    fmt::print("\n{} may prefill for {}\n", options.folder, *options.with);
  }
  if (check.ok()) return absl::OkStatus();
  return FailedPrecondition("{} may not prefill for {}:\n{}", options.folder, *options.with,
                            fmt::join(reasons, "\n"));
}

}  // namespace baton
