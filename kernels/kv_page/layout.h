#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernels/kv_page/kv_format.h"

namespace baton::kernels {

// Shape of the cache of one model.
struct KvGeometry {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;  // a multiple of 16, at most 256

  friend bool operator==(const KvGeometry&, const KvGeometry&) = default;
};

enum class KvTensor : uint8_t { kKey = 0, kValue = 1 };

// Byte layout of one resident page: [layer][K|V][kv head][token in page][dim] codes, then the plane
// of scale data [layer][K|V][kv head][token]. A page holds `page_tokens` consecutive tokens of one
// sequence, all layers and heads. The page's size is rounded up to 64 bytes, so that every page of
// an aligned pool starts on a cache line. Pure value type; safe to copy and share.
class KvPageLayout {
 public:
  static constexpr int kMinPageTokens = 16;
  static constexpr int kMaxPageTokens = 128;
  static constexpr int kMaxHeadDim = 256;

  KvPageLayout() = default;
  // Precondition: Validate(geometry, page_tokens) is empty.
  KvPageLayout(KvGeometry geometry, KvFormats formats, int page_tokens);

  // What is wrong with these values (names field, value, expectation), or empty.
  static std::optional<std::string> Validate(const KvGeometry& geometry, int page_tokens);

  const KvGeometry& geometry() const { return geometry_; }
  KvFormats formats() const { return formats_; }
  KvFormat format(KvTensor tensor) const {
    return tensor == KvTensor::kKey ? formats_.k : formats_.v;
  }
  int page_tokens() const { return page_tokens_; }
  size_t page_bytes() const { return page_bytes_; }

  // Byte offset in the page of the codes of one group. `token` counts from the page's start.
  size_t CodeOffset(int layer, KvTensor tensor, int head, int token) const {
    const int t = static_cast<int>(tensor);
    return layer * layer_code_bytes_ + t * value_code_start_ +
           (static_cast<size_t>(head) * page_tokens_ + token) * code_bytes_[t];
  }
  // Byte offset in the page of the scale data of one group; meaningless where the format has none.
  size_t ScaleOffset(int layer, KvTensor tensor, int head, int token) const {
    const int t = static_cast<int>(tensor);
    return scale_start_ + layer * layer_scale_bytes_ + t * value_scale_start_ +
           (static_cast<size_t>(head) * page_tokens_ + token) * scale_bytes_[t];
  }

  // Bytes of one group.
  size_t code_bytes(KvTensor tensor) const { return code_bytes_[static_cast<int>(tensor)]; }
  size_t scale_bytes(KvTensor tensor) const { return scale_bytes_[static_cast<int>(tensor)]; }

 private:
  KvGeometry geometry_;
  KvFormats formats_;
  int page_tokens_ = 0;
  size_t code_bytes_[2] = {0, 0};
  size_t scale_bytes_[2] = {0, 0};
  size_t value_code_start_ = 0;  // within a layer
  size_t layer_code_bytes_ = 0;
  size_t scale_start_ = 0;
  size_t value_scale_start_ = 0;  // within a layer's scale plane
  size_t layer_scale_bytes_ = 0;
  size_t page_bytes_ = 0;
};

// Resident bytes of `tokens` tokens in `page_tokens`-sized pages (whole pages).
size_t KvResidentBytes(const KvPageLayout& layout, int64_t tokens);
// `bytes_raw` of numbers.md: what fp16 would cost: tokens x layers x kv_heads x head_dim x 2 (K and
// V) x 2 B.
uint64_t KvRawBytes(const KvGeometry& geometry, uint64_t tokens);

// A pool of pages as kernels see it: page p starts at pool + p * layout.page_bytes(). Non-owning;
// the pool outlives every launch. A kernel that writes touches only the groups it was asked to
// write.
struct PagedKv {
  std::byte* pool = nullptr;
  KvPageLayout layout;

  std::byte* Page(int32_t page) const {
    return pool + static_cast<size_t>(page) * layout.page_bytes();
  }
};

// Consecutive rows (tokens) of one sequence inside a ragged batch.
struct PagedSequence {
  const int32_t* pages = nullptr;  // page of token t: pages[t / page_tokens]; covers all tokens the
                                   // launch reads or writes
  int32_t first_position = 0;      // position in the sequence of the first row
  int32_t rows = 0;
  int32_t first_row = 0;  // index of the first row in the batch's matrices
};

}  // namespace baton::kernels
