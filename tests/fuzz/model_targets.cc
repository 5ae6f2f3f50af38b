// Targets that need no more than common/model and common/tokenizer.
#include <string_view>

#include "common/model/model_config.h"
#include "common/model/safetensors.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/fuzz/targets.h"

namespace baton::fuzz {
namespace {

std::string_view TextOf(std::span<const std::byte> input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// Every byte of a view must be there; the result only keeps the reads.
unsigned SumOf(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  return sum;
}

}  // namespace

void Safetensors(std::span<const std::byte> input) {
  const auto tensors = ParseSafetensors(input, "fuzz");
  if (!tensors.ok()) return;
  volatile unsigned sum = 0;
  for (const NamedTensor& tensor : *tensors) sum = sum + SumOf(tensor.view.bytes);
}

void ConfigJson(std::span<const std::byte> input) {
  const auto config = ParseModelConfig(TextOf(input), std::nullopt);
  if (!config.ok()) return;
  // What is accepted is in range: the widths that everything else is sized by.
  if (config->head_dim % 16 != 0 || config->kv_heads < 1 || config->heads % config->kv_heads != 0) {
    __builtin_trap();
  }
  InverseFrequencies(config->rope, config->head_dim);
}

void TokenizerJson(std::span<const std::byte> input) {
  const auto tokenizer = Tokenizer::Parse(TextOf(input));
  if (!tokenizer.ok()) return;
  const auto ids = (*tokenizer)->Encode("Hello, world 123\n\xC3\xA9<|x|>");
  if (ids.ok()) (void)(*tokenizer)->Decode(*ids, {});
}

}  // namespace baton::fuzz
