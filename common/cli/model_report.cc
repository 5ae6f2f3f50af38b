#include "common/cli/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "common/base/status.h"
#include "common/model/architecture.h"
#include "common/model/json.h"
#include "common/quant/formats/module_tensors.h"
#include "common/quant/formats/quant_format.h"
#include "common/quant/formats/weight_source.h"
#include "kernels/kv_page/kv_format.h"

namespace baton {
namespace {

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

int64_t CountOf(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// The module's last name: "model.layers.3.mlp.up_proj.weight" -> "up_proj".
std::string ModuleName(const std::string& tensor) {
  const size_t end = tensor.rfind('.');
  const size_t begin = tensor.rfind('.', end - 1);
  return begin == std::string::npos ? tensor.substr(0, end)
                                    : tensor.substr(begin + 1, end - begin - 1);
}

class Groups {
 public:
  void Add(const std::string& name, const std::string& stored, int64_t parameters, double bits) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const TensorGroup& g) {
      return g.name == name && g.stored == stored;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {.name = name, .stored = stored});
    }
    ++group->tensors;
    group->parameters += parameters;
    group->bits += bits;
  }

  std::vector<TensorGroup> groups;
};

absl::StatusOr<std::vector<TensorGroup>> GroupTensors(const Checkpoint& checkpoint,
                                                      const WeightSource& weights) {
  Groups groups;
  for (const WeightSpec& spec : ExpectedWeights(checkpoint.config())) {
    const int64_t count = CountOf(spec.shape);
    if (spec.shape.size() == 1) {
      const DataType type = checkpoint.Get(spec.kind, spec.layer).type;
      groups.Add("norms and biases", LowerCase(NameOf(type)), count,
                 static_cast<double>(count * 8 * SizeOf(type)));
      continue;
    }
    const std::string name = ModuleName(spec.name);
    BATON_ASSIGN_OR_RETURN(const LoadedWeight weight,
                           weights.Read(spec.kind, spec.layer, RunSerially));
    if (weight.quantized) {
      const double bits = BitsPerWeight(*weight.quantized) * static_cast<double>(count);
      groups.Add(name, Describe(*weight.quantized), count, bits);
    } else {
      groups.Add(name, LowerCase(NameOf(weight.dense->type)), count,
                 static_cast<double>(count * 8 * SizeOf(weight.dense->type)));
    }
  }
  return std::move(groups.groups);
}

absl::StatusOr<std::string> FormatOf(const Checkpoint& checkpoint) {
  if (!checkpoint.quantized()) return std::string("none");
  BATON_ASSIGN_OR_RETURN(const nlohmann::json config,
                         ParseJsonObject(checkpoint.config().origin.quantization,
                                         "quantization_config", JsonLimits{}));
  BATON_ASSIGN_OR_RETURN(const QuantFormat format,
                         DetectFormat(JsonFields(config, "quantization_config.")));
  return std::string(NameOf(format));
}

}  // namespace

int64_t ModelReport::parameters() const {
  int64_t sum = 0;
  for (const TensorGroup& group : groups) sum += group.parameters;
  return sum;
}

double ModelReport::bits() const {
  double sum = 0;
  for (const TensorGroup& group : groups) sum += group.bits;
  return sum;
}

absl::StatusOr<ModelReport> InspectModel(const std::string& folder) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                         Checkpoint::Open(folder, {.accept_quantized = true}));
  BATON_ASSIGN_OR_RETURN(const WeightSource weights, WeightSource::Open(checkpoint));
  ModelReport report{.folder = folder, .config = checkpoint.config(), .notes = weights.Notes()};
  BATON_ASSIGN_OR_RETURN(report.quantization, FormatOf(checkpoint));
  BATON_ASSIGN_OR_RETURN(report.groups, GroupTensors(checkpoint, weights));
  report.digest = checkpoint.ComputeDigest();
  report.base = report.config.origin.source;
  if (!report.base && !checkpoint.quantized()) report.base = report.digest;
  report.source = checkpoint.SourceDigest(report.digest);
  const absl::StatusOr<Digest> tokenizer = TokenizerDigest(folder);
  if (tokenizer.ok()) {
    report.tokenizer = *tokenizer;
  } else if (tokenizer.status().code() != absl::StatusCode::kNotFound) {
    return tokenizer.status();
  }
  return report;
}

std::vector<KvCost> KvCosts(const ModelConfig& config) {
  std::vector<KvCost> costs;
  for (const char* name : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8", "k8v4", "int4"}) {
    const kernels::KvFormats formats = *kernels::ParseKvFormats(name);
    size_t group = 0;
    for (const kernels::KvFormat format : {formats.k, formats.v}) {
      group += kernels::KvCodeBytes(format, config.head_dim) + kernels::KvScaleBytes(format);
    }
    costs.push_back({name, static_cast<int64_t>(group) * config.layers * int64_t{config.kv_heads}});
  }
  return costs;
}

std::string DigestText(const std::optional<Digest>& digest, std::string_view otherwise) {
  return digest ? digest->ToString() : std::string(otherwise);
}

std::string RopeText(const RopeConfig& rope) {
  std::string text = fmt::format("theta {:g}", rope.theta);
  switch (rope.scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLlama3:
      text += fmt::format(", llama3 scaling by {:g} from {} positions", rope.factor,
                          rope.original_max_positions);
      break;
  }
  return text;
}

nlohmann::ordered_json ReportJson(const ModelReport& report) {
  const ModelConfig& c = report.config;
  nlohmann::ordered_json json;
  json["folder"] = report.folder;
  json["architecture"] = c.architecture->name;
  json["parameters"] = report.parameters();
  json["layers"] = c.layers;
  json["hidden_size"] = c.hidden_size;
  json["heads"] = c.heads;
  json["kv_heads"] = c.kv_heads;
  json["head_dim"] = c.head_dim;
  json["vocab_size"] = c.vocab_size;
  json["max_positions"] = c.max_positions;
  json["sliding_window"] = c.sliding_window;
  json["rope"] = RopeText(c.rope);
  json["tied_embeddings"] = c.tied_embeddings;
  json["quantization"] = report.quantization;
  json["notes"] = report.notes;
  json["bits_per_weight"] = report.bits() / static_cast<double>(report.parameters());
  json["tensor_groups"] = nlohmann::ordered_json::array();
  for (const TensorGroup& group : report.groups) {
    json["tensor_groups"].push_back(
        {{"name", group.name},
         {"stored", group.stored},
         {"tensors", group.tensors},
         {"parameters", group.parameters},
         {"bits_per_weight", group.bits / static_cast<double>(group.parameters)}});
  }
  json["kv_bytes_per_token"] = nlohmann::ordered_json::object();
  for (const KvCost& cost : KvCosts(c)) {
    json["kv_bytes_per_token"][cost.format] = cost.bytes_per_token;
  }
  json["base_digest"] = DigestText(report.base, "unknown");
  json["kv_basis"] = c.origin.kv_basis;
  json["digest"] = report.digest.ToString();
  json["source_digest"] = DigestText(report.source, "unknown");
  json["tokenizer_digest"] = DigestText(report.tokenizer, "absent");
  return json;
}

std::string ReportText(const ModelReport& report) {
  const ModelConfig& c = report.config;
  const auto parameters = static_cast<double>(report.parameters());
  std::string text = fmt::format("{}\n", report.folder);
  text +=
      fmt::format("  architecture  {}: {} layers, hidden {}, ffn {}, {} heads, {} KV heads of {}\n",
                  c.architecture->name, c.layers, c.hidden_size, c.intermediate_size, c.heads,
                  c.kv_heads, c.head_dim);
  text += fmt::format("  context       {}, RoPE {}{}\n", c.max_positions, RopeText(c.rope),
                      c.sliding_window > 0 ? fmt::format(", window {}", c.sliding_window) : "");
  text += fmt::format("  vocabulary    {}{}\n", c.vocab_size,
                      c.tied_embeddings ? ", embeddings tied" : "");
  text += fmt::format("  parameters    {:.2f} M, {:.2f} MB, {:.2f} bits per weight\n",
                      parameters / 1e6, report.bits() / 8e6, report.bits() / parameters);
  text += fmt::format("  quantization  {}\n", report.quantization);
  for (const std::string& note : report.notes) text += fmt::format("                {}\n", note);
  text += fmt::format("  base model    {}\n", DigestText(report.base, "unknown"));
  if (!c.origin.kv_basis.empty()) {
    text += fmt::format("                its cache in the basis '{}'\n", c.origin.kv_basis);
  }
  text += fmt::format("  tokenizer     {}\n", DigestText(report.tokenizer, "absent"));
  text += fmt::format("\n  {:<17} {:>7} {:>12} {:>6}  {}\n", "tensors", "count", "parameters",
                      "bits", "stored as");
  for (const TensorGroup& group : report.groups) {
    text += fmt::format("  {:<17} {:>7} {:>12} {:>6.2f}  {}\n", group.name, group.tensors,
                        group.parameters, group.bits / static_cast<double>(group.parameters),
                        group.stored);
  }
  text += fmt::format("\n  {:<17} {:>15}\n", "KV format", "bytes per token");
  for (const KvCost& cost : KvCosts(c)) {
    text += fmt::format("  {:<17} {:>15}\n", cost.format, cost.bytes_per_token);
  }
  return text;
}

}  // namespace baton
