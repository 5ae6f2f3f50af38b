// The shapes that are measured: a model's layer, by name or from a file.
#pragma once

#include <string>
#include <vector>

namespace baton::bench {

struct GemmShape {
  std::string name;
  int n = 0;  // output features
  int k = 0;  // input features
};

struct ModelShape {
  std::string name;
  int hidden = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int ffn = 0;
  int vocab = 0;

  // qkv, o, gate_up, down, head: fused as they are served.
  std::vector<GemmShape> products() const;
};

// "llama3-8b", or a JSON file {"name", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab"}.
// On a bad name or file, writes why to `problem`.
ModelShape LoadShape(const std::string& name_or_file, std::string* problem);

}  // namespace baton::bench
