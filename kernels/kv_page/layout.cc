#include "kernels/kv_page/layout.h"

#include <bit>

#include "kernels/numeric/require.h"

namespace baton::kernels {
namespace {

constexpr size_t kPageAlignment = 64;
// Far above any model; keeps every product of a layout well inside 64 bits.
constexpr int kMaxLayers = 1 << 12;
constexpr int kMaxKvHeads = 1 << 12;

std::string Expect(std::string_view field, int value, std::string_view expectation) {
  return std::string(field) + ": " + std::to_string(value) + ", expected " +
         std::string(expectation);
}

}  // namespace

std::optional<std::string> KvPageLayout::Validate(const KvGeometry& geometry, int page_tokens) {
  if (geometry.layers < 1 || geometry.layers > kMaxLayers) {
    return Expect("layers", geometry.layers, "1 to 4096");
  }
  if (geometry.kv_heads < 1 || geometry.kv_heads > kMaxKvHeads) {
    return Expect("kv_heads", geometry.kv_heads, "1 to 4096");
  }
  if (geometry.head_dim < 16 || geometry.head_dim > kMaxHeadDim || geometry.head_dim % 16 != 0) {
    return Expect("head_dim", geometry.head_dim, "a multiple of 16 from 16 to 256");
  }
  if (page_tokens < kMinPageTokens || page_tokens > kMaxPageTokens ||
      !std::has_single_bit(static_cast<unsigned>(page_tokens))) {
    return Expect("page_tokens", page_tokens, "a power of two from 16 to 128");
  }
  return std::nullopt;
}

KvPageLayout::KvPageLayout(KvGeometry geometry, KvFormats formats, int page_tokens)
    : geometry_(geometry), formats_(formats), page_tokens_(page_tokens) {
  BATON_KERNELS_REQUIRE(!Validate(geometry, page_tokens));
  const size_t groups = static_cast<size_t>(geometry.kv_heads) * page_tokens;
  code_bytes_[0] = KvCodeBytes(formats.k, geometry.head_dim);
  code_bytes_[1] = KvCodeBytes(formats.v, geometry.head_dim);
  scale_bytes_[0] = KvScaleBytes(formats.k);
  scale_bytes_[1] = KvScaleBytes(formats.v);
  value_code_start_ = groups * code_bytes_[0];
  layer_code_bytes_ = value_code_start_ + groups * code_bytes_[1];
  scale_start_ = layer_code_bytes_ * geometry.layers;
  value_scale_start_ = groups * scale_bytes_[0];
  layer_scale_bytes_ = value_scale_start_ + groups * scale_bytes_[1];
  const size_t used = scale_start_ + layer_scale_bytes_ * geometry.layers;
  page_bytes_ = (used + kPageAlignment - 1) / kPageAlignment * kPageAlignment;
}

size_t KvResidentBytes(const KvPageLayout& layout, int64_t tokens) {
  const int64_t pages = (tokens + layout.page_tokens() - 1) / layout.page_tokens();
  return static_cast<size_t>(pages) * layout.page_bytes();
}

uint64_t KvRawBytes(const KvGeometry& geometry, uint64_t tokens) {
  return tokens * static_cast<uint64_t>(geometry.layers) *
         static_cast<uint64_t>(geometry.kv_heads) * static_cast<uint64_t>(geometry.head_dim) * 4;
}

}  // namespace baton::kernels
