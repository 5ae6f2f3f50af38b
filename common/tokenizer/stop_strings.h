#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/byte_trie.h"

namespace baton {

struct StopStringOptions {
  bool include_stop = false;  // the emitted text ends with the stop string, not before it
  size_t max_strings = 64;
  size_t max_total_bytes = 8192;  // of all stop strings together
};

// A stop string that has been found.
struct StopMatch {
  size_t stop;   // index into the stop strings
  size_t token;  // index of the token whose text completed it
};

// Finds the first stop string in a text that comes in pieces, and holds back what might still
// become one. "First" is the match that ends first; of several that end at the same byte, the
// longest; of equal strings, the one given first. The result does not depend on how the text is
// cut. Linear in the text. Not thread-safe.
class StopStringMatcher {
 public:
  // What may be shown to the client now.
  struct Output {
    std::string text;
    std::optional<StopMatch> match;  // set once; nothing may be pushed afterwards
  };

  // INVALID_ARGUMENT for a stop string that is empty or not UTF-8, and above the limits. Without
  // stop strings everything passes.
  static absl::StatusOr<StopStringMatcher> Create(std::vector<std::string> stops,
                                                  const StopStringOptions& options = {});

  // `delta` is the text that token number `token` added; tokens come in order, text may be empty.
  Output Push(std::string_view delta, size_t token);
  // At the end of the stream: what was held back.
  std::string Flush();

  // Bytes held back.
  size_t held() const { return held_.size(); }
  bool matched() const { return matched_; }

 private:
  explicit StopStringMatcher(std::vector<std::string> stops, bool include_stop);
  ByteTrie::Node Next(ByteTrie::Node node, uint8_t byte) const;
  void LinkFallbacks();

  std::vector<std::string> stops_;
  bool include_stop_;
  ByteTrie trie_;                                  // of the stop strings; value: index into stops_
  std::vector<ByteTrie::Node> fallback_;           // by node: longest proper suffix that is a node
  std::vector<std::optional<int32_t>> completes_;  // by node: longest stop string that ends here
  std::vector<size_t> depth_;                      // by node: bytes from the root
  ByteTrie::Node node_ = ByteTrie::kRoot;
  std::string held_;  // the longest suffix of the text that starts a stop string
  bool matched_ = false;
};

}  // namespace baton
