#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/model/architecture.h"
#include "common/model/safetensors_writer.h"
#include "kernels/numeric/formats.h"

namespace baton::test {

// A model of two layers whose matrices are all of different shapes.
inline constexpr const char* kTinyConfig = R"({
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 160,
    "max_position_embeddings": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 16, "num_hidden_layers": 2, "rms_norm_eps": 1e-05, "vocab_size": 40,
    "tie_word_embeddings": false, "torch_dtype": "float16"})";

inline void WriteText(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

// Writes a folder of that configuration with random fp16 weights.
inline void WriteTinyModel(const std::filesystem::path& folder, uint32_t seed,
                           std::string_view config = kTinyConfig) {
  std::filesystem::create_directories(folder);
  WriteText(folder / "config.json", config);
  WriteText(folder / "tokenizer.json", R"({"version":"1.0"})");
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  const auto parsed = ParseModelConfig(config, std::nullopt);
  std::vector<std::vector<uint16_t>> values;
  std::vector<NamedTensor> tensors;
  for (const WeightSpec& spec : ExpectedWeights(*parsed)) {
    size_t count = 1;
    for (const int64_t size : spec.shape) count *= static_cast<size_t>(size);
    std::vector<uint16_t>& data = values.emplace_back(count);
    for (uint16_t& x : data) x = kernels::Fp16FromFloat(normal(random));
    tensors.push_back({spec.name, {DataType::kF16, spec.shape, std::as_bytes(std::span(data))}});
  }
  const absl::Status status = WriteSafetensors(folder / "model.safetensors", tensors, {});
  if (!status.ok()) throw std::runtime_error("the tiny model cannot be written");
}

}  // namespace baton::test
