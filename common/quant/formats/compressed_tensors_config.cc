#include "common/quant/formats/compressed_tensors_config.h"

#include <algorithm>
#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr size_t kMaxGroups = 4096;
constexpr int64_t kMaxGroupSize = 1 << 20;

absl::StatusOr<std::vector<std::string>> ReadStrings(const JsonFields& fields,
                                                     std::string_view name) {
  std::vector<std::string> strings;
  const nlohmann::json* list = fields.Find(name);
  if (list == nullptr) return strings;
  if (!list->is_array()) {
    return InvalidArgument("{}{}: {}, expected an array of strings", fields.prefix(), name,
                           ShortJson(*list));
  }
  for (const nlohmann::json& entry : *list) {
    if (!entry.is_string()) {
      return InvalidArgument("{}{}: {}, expected a string", fields.prefix(), name,
                             ShortJson(entry));
    }
    strings.push_back(entry.get<std::string>());
  }
  return strings;
}

absl::StatusOr<CompressionFormat> ParseFormat(std::string_view name, std::string_view where) {
  if (name == "dense" || name == "fakequant") return CompressionFormat::kDense;
  if (name == "pack-quantized") return CompressionFormat::kPacked;
  if (name == "int-quantized" || name == "float-quantized" || name == "naive-quantized") {
    return CompressionFormat::kPlain;
  }
  return Unimplemented(
      "{}format: '{}', expected pack-quantized, int-quantized, float-quantized, naive-quantized or "
      "dense",
      where, std::string(name).substr(0, 80));
}

absl::Status ReadBlock(const JsonFields& fields, CompressionScheme& scheme) {
  const nlohmann::json* block = fields.Find("block_structure");
  const auto valid = [](const nlohmann::json& size) {
    return size.is_number_integer() && size >= 1 && size <= kMaxGroupSize;
  };
  if (block == nullptr || !block->is_array() || block->size() != 2 || !valid((*block)[0]) ||
      !valid((*block)[1])) {
    return InvalidArgument("{}block_structure: {}, expected two sizes from 1 to {}",
                           fields.prefix(), block == nullptr ? "missing" : ShortJson(*block),
                           kMaxGroupSize);
  }
  scheme.block_rows = (*block)[0].get<int64_t>();
  scheme.block_columns = (*block)[1].get<int64_t>();
  return absl::OkStatus();
}

absl::Status ReadStrategy(const JsonFields& fields, CompressionScheme& scheme) {
  BATON_ASSIGN_OR_RETURN(scheme.group_size, fields.Int("group_size", -1, kMaxGroupSize, 0));
  // Without a strategy the group size tells.
  const std::string inferred = scheme.group_size > 0   ? "group"
                               : scheme.group_size < 0 ? "channel"
                                                       : "tensor";
  BATON_ASSIGN_OR_RETURN(const std::string strategy, fields.String("strategy", inferred));
  if (strategy == "tensor") {
    scheme.strategy = CompressionStrategy::kTensor;
  } else if (strategy == "channel" || strategy == "token") {
    // A row of the weight is what "token" means for it.
    scheme.strategy = CompressionStrategy::kChannel;
  } else if (strategy == "group") {
    scheme.strategy = CompressionStrategy::kGroup;
    if (scheme.group_size <= 0) {
      return InvalidArgument("{}group_size: {}, expected a size for strategy group",
                             fields.prefix(), scheme.group_size);
    }
  } else if (strategy == "block") {
    scheme.strategy = CompressionStrategy::kBlock;
    return ReadBlock(fields, scheme);
  } else {
    return Unimplemented("{}strategy: '{}', expected tensor, channel, group, block or token",
                         fields.prefix(), strategy);
  }
  return absl::OkStatus();
}

absl::Status ReadActOrder(const JsonFields& fields, CompressionScheme& scheme) {
  const nlohmann::json* order = fields.Find("actorder");
  if (order == nullptr || *order == false || *order == "weight" || *order == "static") {
    return absl::OkStatus();  // a matter of the quantizer: the groups are in order
  }
  if (*order != true && *order != "group" && *order != "dynamic") {
    return Unimplemented("{}actorder: {}, expected group, weight or null", fields.prefix(),
                         ShortJson(*order));
  }
  if (scheme.strategy != CompressionStrategy::kGroup) {
    return InvalidArgument("{}actorder: {}, expected strategy group with it", fields.prefix(),
                           ShortJson(*order));
  }
  scheme.has_column_groups = true;
  return absl::OkStatus();
}

absl::Status ReadWeights(const JsonFields& fields, CompressionScheme& scheme) {
  BATON_ASSIGN_OR_RETURN(const int64_t bits, fields.Int("num_bits", 1, 32, 8));
  BATON_ASSIGN_OR_RETURN(const std::string type, fields.String("type", std::string("int")));
  scheme.is_float = type == "float" || type == "FLOAT";
  if (!scheme.is_float && type != "int" && type != "INT") {
    return InvalidArgument("{}type: '{}', expected int or float", fields.prefix(), type);
  }
  if (scheme.is_float ? bits != 8 : bits < 2 || bits > 8) {
    return Unimplemented("{}num_bits: {}, expected 2 to 8 for int and 8 for float", fields.prefix(),
                         bits);
  }
  scheme.bits = static_cast<int>(bits);
  BATON_ASSIGN_OR_RETURN(scheme.symmetric, fields.Bool("symmetric", true));
  BATON_RETURN_IF_ERROR(ReadStrategy(fields, scheme));
  return ReadActOrder(fields, scheme);
}

absl::Status ReadActivations(const JsonFields& fields, CompressionScheme& scheme) {
  BATON_ASSIGN_OR_RETURN(const int64_t bits, fields.Int("num_bits", 1, 32, 8));
  BATON_ASSIGN_OR_RETURN(const std::string type, fields.String("type", std::string("int")));
  if (bits != 8 || (type != "int" && type != "float")) {
    return Unimplemented("{}num_bits: {} of type '{}', expected 8 of int or float", fields.prefix(),
                         bits, type);
  }
  scheme.activations = type == "int" ? ActivationType::kInt8 : ActivationType::kFp8;
  const nlohmann::json* dynamic = fields.Find("dynamic");
  scheme.static_activations = dynamic == nullptr || *dynamic == false;
  BATON_ASSIGN_OR_RETURN(const bool symmetric, fields.Bool("symmetric", true));
  scheme.asymmetric_activations = !symmetric;
  return absl::OkStatus();
}

absl::StatusOr<CompressionScheme> ReadScheme(const JsonFields& group, CompressionFormat format) {
  CompressionScheme scheme;
  BATON_ASSIGN_OR_RETURN(const std::string own, group.String("format", std::string()));
  scheme.format = format;
  if (!own.empty()) {
    BATON_ASSIGN_OR_RETURN(scheme.format, ParseFormat(own, group.prefix()));
  }
  if (!group.Has("weights")) {  // inputs or outputs alone: the weight is dense
    scheme.format = CompressionFormat::kDense;
    return scheme;
  }
  BATON_ASSIGN_OR_RETURN(const JsonFields weights, group.Object("weights"));
  BATON_RETURN_IF_ERROR(ReadWeights(weights, scheme));
  if (group.Has("input_activations")) {
    BATON_ASSIGN_OR_RETURN(const JsonFields inputs, group.Object("input_activations"));
    BATON_RETURN_IF_ERROR(ReadActivations(inputs, scheme));
  }
  scheme.output_activations = group.Has("output_activations");
  if (scheme.is_float && scheme.format == CompressionFormat::kPacked) {
    return InvalidArgument("{}format: pack-quantized, expected another for type float",
                           group.prefix());
  }
  return scheme;
}

// What changes the arithmetic and is not followed.
absl::Status RefuseTransformations(const JsonFields& config) {
  const nlohmann::json* transform = config.Find("transform_config");
  if (transform != nullptr && !transform->empty()) {
    return Unimplemented("{}transform_config: {}, expected none", config.prefix(),
                         ShortJson(*transform));
  }
  if (!config.Has("sparsity_config")) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(const JsonFields sparsity, config.Object("sparsity_config"));
  BATON_ASSIGN_OR_RETURN(const std::string format, sparsity.String("format", std::string("dense")));
  if (format != "dense") {
    return Unimplemented("{}format: '{}', expected dense", sparsity.prefix(), format);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CacheFormat(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const JsonFields cache, config.Object("kv_cache_scheme"));
  BATON_ASSIGN_OR_RETURN(const int64_t bits, cache.Int("num_bits", 1, 32, 8));
  BATON_ASSIGN_OR_RETURN(const std::string type, cache.String("type", std::string("int")));
  return fmt::format("{}{}", type == "float" ? "fp" : "int", bits);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CompressionConfig::NotesOf(
    const JsonFields& config, const std::vector<Group>& groups) {
  std::vector<std::string> notes;
  if (config.Has("kv_cache_scheme")) {
    BATON_ASSIGN_OR_RETURN(const std::string format, CacheFormat(config));
    notes.push_back(
        fmt::format("kv_cache_scheme {}: its static scales are not used, the cache is in the "
                    "format of --kv with a scale per token and head",
                    format));
  }
  const auto any = [&](bool CompressionScheme::*flag) {
    return std::any_of(groups.begin(), groups.end(),
                       [flag](const Group& group) { return group.scheme.*flag; });
  };
  if (any(&CompressionScheme::asymmetric_activations)) {
    notes.push_back("asymmetric input_activations: inputs are rounded symmetrically");
  }
  if (any(&CompressionScheme::output_activations)) {
    notes.push_back("output_activations: outputs are not rounded");
  }
  return notes;
}

absl::StatusOr<CompressionConfig> CompressionConfig::Parse(const JsonFields& config) {
  CompressionConfig parsed;
  BATON_RETURN_IF_ERROR(RefuseTransformations(config));
  BATON_ASSIGN_OR_RETURN(const std::string name, config.String("format", std::string("dense")));
  // Each group then names its own.
  CompressionFormat format = CompressionFormat::kDense;
  if (name != "mixed-precision") {
    BATON_ASSIGN_OR_RETURN(format, ParseFormat(name, config.prefix()));
  }
  BATON_ASSIGN_OR_RETURN(const std::vector<std::string> ignored, ReadStrings(config, "ignore"));
  BATON_ASSIGN_OR_RETURN(parsed.ignored_,
                         ModulePatterns::Parse(ignored, config.prefix() + "ignore"));
  BATON_ASSIGN_OR_RETURN(const JsonFields groups, config.Object("config_groups"));
  const nlohmann::json& entries = *config.Find("config_groups");
  if (entries.size() > kMaxGroups) {
    return InvalidArgument("{}config_groups: {} groups, expected at most {}", config.prefix(),
                           entries.size(), kMaxGroups);
  }
  for (const auto& [key, value] : entries.items()) {
    BATON_ASSIGN_OR_RETURN(const JsonFields fields, groups.Object(key));
    BATON_ASSIGN_OR_RETURN(const std::vector<std::string> targets, ReadStrings(fields, "targets"));
    Group group;
    BATON_ASSIGN_OR_RETURN(group.targets,
                           ModulePatterns::Parse(targets, fields.prefix() + "targets"));
    BATON_ASSIGN_OR_RETURN(group.scheme, ReadScheme(fields, format));
    parsed.groups_.push_back(std::move(group));
  }
  BATON_ASSIGN_OR_RETURN(parsed.notes_, NotesOf(config, parsed.groups_));
  return parsed;
}

const CompressionScheme* CompressionConfig::Find(std::string_view module,
                                                 std::string_view module_class) const {
  if (ignored_.Matches(module, module_class) != ModulePatterns::Match::kNone) return nullptr;
  const CompressionScheme* best = nullptr;
  auto closest = ModulePatterns::Match::kNone;
  for (const Group& group : groups_) {
    const auto match = group.targets.Matches(module, module_class);
    if (match <= closest) continue;
    closest = match;
    best = &group.scheme;
  }
  return best == nullptr || best->format == CompressionFormat::kDense ? nullptr : best;
}

}  // namespace baton
