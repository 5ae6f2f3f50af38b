#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/model/gguf.h"

namespace baton {

// What a GGUF file says, in the words of a Hugging Face folder. Llama (Mistral too), Qwen2 and
// Qwen3. `what` stands in front of errors, which name the metadata key.

// The text of config.json. Llama 3's rope scaling, of which the file holds only the factors, is
// recognized by them. UNIMPLEMENTED for other architectures, experts and other scalings.
absl::StatusOr<std::string> GgufConfigJson(const GgufContent& content, std::string_view what);

// The text of tokenizer.json, from the vocabulary, the merges and the name of the pre-tokenizer.
// UNIMPLEMENTED for vocabularies that are not byte-level BPE (SentencePiece) and other
// pre-tokenizers.
absl::StatusOr<std::string> GgufTokenizerJson(const GgufContent& content, std::string_view what);

// "blk.3.attn_q.weight" as "model.layers.3.self_attn.q_proj.weight"; nothing for a tensor that no
// architecture of ours has.
std::optional<std::string> HuggingFaceName(std::string_view gguf_name);

// Whether the rows of the file's query and key matrices stand in the order of interleaved rotary
// pairs, as the conversion of Llama leaves them.
bool HasInterleavedHeads(const GgufContent& content);

// Row of the file that holds row `row` of the Hugging Face matrix, heads of `head_dim` rows.
inline int64_t InterleavedRow(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  const int64_t half = head_dim / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

}  // namespace baton
