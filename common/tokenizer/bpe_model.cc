#include "common/tokenizer/bpe_model.h"

#include <optional>
#include <queue>

#include "common/base/status.h"
#include "common/tokenizer/byte_level.h"

namespace baton {
namespace {

using Spellings = absl::flat_hash_map<absl::string_view, int32_t>;

absl::StatusOr<int32_t> Find(const Spellings& spellings, std::string_view text,
                             std::string_view what, size_t index) {
  const auto entry = spellings.find(ToAbsl(text));
  if (entry == spellings.end()) {
    return InvalidArgument("{}[{}]: '{}' is not in model.vocab, expected a token of it", what,
                           index, text);
  }
  return entry->second;
}

}  // namespace

// The symbols of one word as a linked list over its bytes, and the joins still to be tried.
class BpeModel::Word {
 public:
  Word(const BpeModel& model, std::string_view bytes) : model_(model) {
    const auto size = static_cast<int32_t>(bytes.size());
    symbols_.reserve(bytes.size());
    for (int32_t i = 0; i < size; ++i) {
      const int32_t id = model.byte_ids_[static_cast<uint8_t>(bytes[i])];
      symbols_.push_back({id, i - 1, i + 1 < size ? i + 1 : -1});
    }
    for (int32_t i = 0; i + 1 < size; ++i) Consider(i);
  }

  std::vector<int32_t> Encode() {
    while (!candidates_.empty()) {
      const Candidate candidate = candidates_.top();
      candidates_.pop();
      // A neighbour may have been joined elsewhere since the candidate was noted.
      const auto merge = MergeAt(candidate.at);
      if (merge && merge->id == candidate.id) Join(candidate.at, candidate.id);
    }
    std::vector<int32_t> ids;
    for (int32_t at = 0; at >= 0; at = symbols_[at].next) ids.push_back(symbols_[at].id);
    return ids;
  }

 private:
  struct Symbol {
    int32_t id;        // -1 once joined to its left neighbour
    int32_t previous;  // index, -1 at the start
    int32_t next;      // index, -1 at the end
  };
  struct Candidate {
    int32_t rank;
    int32_t at;
    int32_t id;
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  std::optional<Merge> MergeAt(int32_t at) const {
    const Symbol& left = symbols_[at];
    if (left.id < 0 || left.next < 0) return std::nullopt;
    const auto entry = model_.merges_.find(Pair(left.id, symbols_[left.next].id));
    if (entry == model_.merges_.end()) return std::nullopt;
    return entry->second;
  }

  void Consider(int32_t at) {
    if (const auto merge = MergeAt(at)) candidates_.push({merge->rank, at, merge->id});
  }

  void Join(int32_t at, int32_t id) {
    Symbol& left = symbols_[at];
    Symbol& right = symbols_[left.next];
    left.id = id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols_[left.next].previous = at;
    if (left.previous >= 0) Consider(left.previous);
    Consider(at);
  }

  const BpeModel& model_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> candidates_;
};

absl::StatusOr<BpeModel> BpeModel::Create(const TokenizerSpec& spec) {
  BpeModel model;
  Spellings spellings;
  spellings.reserve(spec.vocabulary.size());
  for (const auto& [text, id] : spec.vocabulary) spellings.emplace(text, id);
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string spelling = SpellByte(static_cast<uint8_t>(byte));
    BATON_ASSIGN_OR_RETURN(const int32_t id, Find(spellings, spelling, "byte", byte));
    model.byte_ids_.push_back(id);
  }
  model.merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    BATON_ASSIGN_OR_RETURN(const int32_t l, Find(spellings, left, "model.merges", rank));
    BATON_ASSIGN_OR_RETURN(const int32_t r, Find(spellings, right, "model.merges", rank));
    BATON_ASSIGN_OR_RETURN(const int32_t id, Find(spellings, left + right, "model.merges", rank));
    model.merges_.insert_or_assign(Pair(l, r), Merge{static_cast<int32_t>(rank), id});
  }
  if (spec.ignore_merges) {
    for (const auto& [text, id] : spec.vocabulary) {
      if (auto bytes = UnspellBytes(text)) model.whole_words_.emplace(*std::move(bytes), id);
    }
  }
  return model;
}

std::vector<int32_t> BpeModel::EncodeWord(std::string_view word) const {
  if (word.empty()) return {};
  if (!whole_words_.empty()) {
    const auto entry = whole_words_.find(ToAbsl(word));
    if (entry != whole_words_.end()) return {entry->second};
  }
  return Word(*this, word).Encode();
}

}  // namespace baton
