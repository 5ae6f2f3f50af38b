#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer_spec.h"

namespace baton {

// Byte-pair encoding of words: starts from single bytes and joins the neighbouring pair of highest
// priority, leftmost first, until none is left. Immutable and thread-safe.
class BpeModel {
 public:
  // INVALID_ARGUMENT when one of the 256 bytes or a part or result of a merge is not in the
  // vocabulary.
  static absl::StatusOr<BpeModel> Create(const TokenizerSpec& spec);

  // Ids of a word of any bytes; n log n in its length.
  std::vector<int32_t> EncodeWord(std::string_view word) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t id;  // of the joined token
  };
  class Word;

  BpeModel() = default;
  static uint64_t Pair(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(left) << 32) | static_cast<uint32_t>(right);
  }

  std::vector<int32_t> byte_ids_;                          // 256
  absl::flat_hash_map<uint64_t, Merge> merges_;            // key: Pair
  absl::flat_hash_map<std::string, int32_t> whole_words_;  // by bytes; filled for ignore_merges
};

}  // namespace baton
