#include "tests/fuzz/targets.h"

#include <array>

namespace baton::fuzz {

std::span<const NamedTarget> Targets() {
  static constexpr std::array<NamedTarget, 5> kTargets = {{
      {"safetensors", Safetensors},
      {"gguf", Gguf},
      {"config_json", ConfigJson},
      {"tokenizer_json", TokenizerJson},
      {"formats", Formats},
  }};
  return kTargets;
}

}  // namespace baton::fuzz
