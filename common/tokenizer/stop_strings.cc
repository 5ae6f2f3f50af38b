#include "common/tokenizer/stop_strings.h"

#include <deque>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/tokenizer/utf8.h"

namespace baton {

absl::StatusOr<StopStringMatcher> StopStringMatcher::Create(std::vector<std::string> stops,
                                                            const StopStringOptions& options) {
  if (stops.size() > options.max_strings) {
    return InvalidArgument("stop: {} strings, expected at most {}", stops.size(),
                           options.max_strings);
  }
  size_t total = 0;
  for (size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) return InvalidArgument("stop[{}]: empty, expected a string", i);
    if (const auto offset = FirstInvalidUtf8(stops[i])) {
      return InvalidArgument("stop[{}]: ill-formed at byte {}, expected UTF-8", i, *offset);
    }
    total += stops[i].size();
  }
  if (total > options.max_total_bytes) {
    return InvalidArgument("stop: {} bytes together, expected at most {}", total,
                           options.max_total_bytes);
  }
  return StopStringMatcher(std::move(stops), options.include_stop);
}

StopStringMatcher::StopStringMatcher(std::vector<std::string> stops, bool include_stop)
    : stops_(std::move(stops)), include_stop_(include_stop) {
  for (size_t i = 0; i < stops_.size(); ++i) trie_.Insert(stops_[i], static_cast<int32_t>(i));
  LinkFallbacks();
}

// Aho and Corasick's automaton, breadth first: a node's fallback is less deep than the node.
void StopStringMatcher::LinkFallbacks() {
  fallback_.assign(trie_.size(), ByteTrie::kRoot);
  completes_.assign(trie_.size(), std::nullopt);
  depth_.assign(trie_.size(), 0);
  std::deque<ByteTrie::Node> queue = {ByteTrie::kRoot};
  for (; !queue.empty(); queue.pop_front()) {
    const ByteTrie::Node parent = queue.front();
    completes_[parent] = trie_.ValueAt(parent);
    if (!completes_[parent] && parent != ByteTrie::kRoot) {
      completes_[parent] = completes_[fallback_[parent]];
    }
    for (int byte = 0; byte < 256; ++byte) {
      const auto child = trie_.Child(parent, static_cast<uint8_t>(byte));
      if (!child) continue;
      depth_[*child] = depth_[parent] + 1;
      if (parent != ByteTrie::kRoot) {
        fallback_[*child] = Next(fallback_[parent], static_cast<uint8_t>(byte));
      }
      queue.push_back(*child);
    }
  }
}

ByteTrie::Node StopStringMatcher::Next(ByteTrie::Node node, uint8_t byte) const {
  while (true) {
    if (const auto child = trie_.Child(node, byte)) return *child;
    if (node == ByteTrie::kRoot) return node;
    node = fallback_[node];
  }
}

StopStringMatcher::Output StopStringMatcher::Push(std::string_view delta, size_t token) {
  BATON_CHECK(!matched_);
  for (size_t i = 0; i < delta.size(); ++i) {
    node_ = Next(node_, static_cast<uint8_t>(delta[i]));
    const auto stop = completes_[node_];
    if (!stop) continue;
    matched_ = true;
    std::string text = std::exchange(held_, {});
    text += delta.substr(0, i + 1);
    if (!include_stop_) text.resize(text.size() - stops_[*stop].size());
    return {std::move(text), StopMatch{static_cast<size_t>(*stop), token}};
  }
  std::string text = std::exchange(held_, {});
  text += delta;
  held_ = text.substr(text.size() - depth_[node_]);
  text.resize(text.size() - held_.size());
  return {std::move(text), std::nullopt};
}

std::string StopStringMatcher::Flush() {
  node_ = ByteTrie::kRoot;
  return std::exchange(held_, {});
}

}  // namespace baton
