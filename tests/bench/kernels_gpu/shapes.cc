#include "tests/bench/kernels_gpu/shapes.h"

#include <fmt/core.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace baton::bench {
namespace {

constexpr int kLargest = 1 << 20;

}  // namespace

std::vector<GemmShape> ModelShape::products() const {
  return {{"qkv", (heads + 2 * kv_heads) * head_dim, hidden},
          {"o", hidden, heads * head_dim},
          {"gate_up", 2 * ffn, hidden},
          {"down", hidden, ffn},
          {"head", vocab, hidden}};
}

ModelShape LoadShape(const std::string& name_or_file, std::string* problem) {
  if (name_or_file == "llama3-8b") return {"llama3-8b", 4096, 32, 8, 128, 14336, 128256};
  std::ifstream file(name_or_file);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    *problem = fmt::format("--shapes: '{}', expected llama3-8b or a JSON file", name_or_file);
    return {};
  }
  ModelShape shape{.name = json.value("name", name_or_file)};
  const std::pair<const char*, int*> fields[] = {
      {"hidden", &shape.hidden},     {"heads", &shape.heads}, {"kv_heads", &shape.kv_heads},
      {"head_dim", &shape.head_dim}, {"ffn", &shape.ffn},     {"vocab", &shape.vocab}};
  for (const auto& [name, value] : fields) {
    const auto field = json.find(name);
    if (field == json.end() || !field->is_number_integer() || field->get<int64_t>() < 1 ||
        field->get<int64_t>() > kLargest) {
      *problem = fmt::format("{}: {}: {}, expected an integer from 1 to {}", name_or_file, name,
                             field == json.end() ? "absent" : field->dump(), kLargest);
      return {};
    }
    *value = field->get<int>();
  }
  return shape;
}

}  // namespace baton::bench
