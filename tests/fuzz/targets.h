#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace baton::fuzz {

// What a fuzzer feeds: a whole file of unknown content. Returns when it was read or refused; any
// crash, sanitizer report, uncaught exception or endless loop is a finding.
using Target = void (*)(std::span<const std::byte> input);

void Safetensors(std::span<const std::byte> input);
// The container, its metadata as a configuration and as a tokenizer, and its weights.
void Gguf(std::span<const std::byte> input);
void ConfigJson(std::span<const std::byte> input);
void TokenizerJson(std::span<const std::byte> input);
// A quantization_config, '\n', two bytes (N and K of a module "m"), then a safetensors file with
// the module's tensors.
void Formats(std::span<const std::byte> input);

struct NamedTarget {
  std::string_view name;
  Target run;
};
std::span<const NamedTarget> Targets();

}  // namespace baton::fuzz
