#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/json.h"
#include "common/quant/activation_scheme.h"
#include "common/quant/formats/module_pattern.h"

namespace baton {

enum class CompressionStrategy { kTensor, kChannel, kGroup, kBlock };
enum class CompressionFormat { kDense, kPacked, kPlain };  // kPlain: one byte per code

// How one group of modules is stored.
struct CompressionScheme {
  CompressionFormat format = CompressionFormat::kDense;
  int bits = 8;
  bool is_float = false;  // fp8 e4m3fn, else integers
  bool symmetric = true;
  CompressionStrategy strategy = CompressionStrategy::kTensor;
  int64_t group_size = 0;          // kGroup
  int64_t block_rows = 0;          // kBlock
  int64_t block_columns = 0;       // kBlock
  bool has_column_groups = false;  // actorder "group"
  ActivationType activations = ActivationType::kFloat;
  bool static_activations = false;
  bool asymmetric_activations = false;
  bool output_activations = false;
};

// A quantization_config of compressed-tensors, checked.
class CompressionConfig {
 public:
  // INVALID_ARGUMENT or UNIMPLEMENTED, naming the field.
  static absl::StatusOr<CompressionConfig> Parse(const JsonFields& config);

  // The scheme of a module, or null when it is ignored or none of the groups means it.
  const CompressionScheme* Find(std::string_view module, std::string_view module_class) const;
  // What is asked for beyond the weights and is not followed, in words, each once.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Group {
    ModulePatterns targets;
    CompressionScheme scheme;
  };
  static absl::StatusOr<std::vector<std::string>> NotesOf(const JsonFields& config,
                                                          const std::vector<Group>& groups);

  std::vector<Group> groups_;
  ModulePatterns ignored_;
  std::vector<std::string> notes_;
};

}  // namespace baton
