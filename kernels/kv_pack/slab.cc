#include "kernels/kv_pack/slab.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace baton::kernels {
namespace {

static_assert(std::endian::native == std::endian::little, "slabs are read and written in place");

constexpr uint64_t kSectionAlignment = 16;
constexpr size_t kChecksumOffset = 72;
constexpr size_t kReservedOffset = 80;
constexpr uint64_t kHeaderFirstWord = uint64_t{1} << 32;

// Fields follow each other without padding.
class Writer {
 public:
  explicit Writer(SlabHeaderBytes& bytes) : bytes_(bytes) {}

  template <typename T>
  void Put(const T& value) {
    std::memcpy(bytes_.data() + offset_, &value, sizeof(T));
    offset_ += sizeof(T);
  }

 private:
  SlabHeaderBytes& bytes_;
  size_t offset_ = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  T Get() {
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

std::string Wrong(std::string_view field, uint64_t value, std::string_view expectation) {
  return "slab header " + std::string(field) + ": " + std::to_string(value) + ", expected " +
         std::string(expectation);
}

std::optional<std::string> CheckRange(const SlabRange& range) {
  if (range.l0 >= range.l1)
    return Wrong("l1", range.l1, "more than l0 " + std::to_string(range.l0));
  if (range.h0 >= range.h1)
    return Wrong("h1", range.h1, "more than h0 " + std::to_string(range.h0));
  if (range.t0 >= range.t1)
    return Wrong("t1", range.t1, "more than t0 " + std::to_string(range.t0));
  return std::nullopt;
}

// Adds a section and its padding; false on overflow of 63 bits.
bool AddSection(uint64_t elements, uint64_t element_bytes, uint64_t& end) {
  constexpr uint64_t kLimit = (uint64_t{1} << 63) - 1;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements, element_bytes, &bytes)) return false;
  if (__builtin_add_overflow(end, bytes, &end) || end > kLimit - kSectionAlignment) return false;
  end = (end + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
  return true;
}

}  // namespace

SlabHeaderBytes EncodeSlabHeader(const SlabHeader& header) {
  SlabHeaderBytes bytes{};
  Writer writer(bytes);
  writer.Put(SlabHeader::kMagic);
  writer.Put(SlabHeader::kVersion);
  writer.Put(static_cast<uint16_t>(SlabHeader::kBytes));
  writer.Put(header.transfer_id);
  writer.Put(header.attempt);
  writer.Put(header.slab_number);
  for (const uint32_t bound : {header.range.l0, header.range.l1, header.range.h0, header.range.h1,
                               header.range.t0, header.range.t1}) {
    writer.Put(bound);
  }
  writer.Put(static_cast<uint8_t>(header.formats.k));
  writer.Put(static_cast<uint8_t>(header.formats.v));
  writer.Put(uint16_t{0});
  writer.Put(uint32_t{0});
  writer.Put(header.payload_bytes);
  writer.Put(header.checksum);
  return bytes;
}

std::variant<SlabHeader, std::string> DecodeSlabHeader(std::span<const std::byte> bytes,
                                                       int head_dim) {
  if (bytes.size() != SlabHeader::kBytes) return Wrong("size", bytes.size(), "128 bytes");
  Reader reader(bytes);
  if (const auto magic = reader.Get<uint32_t>(); magic != SlabHeader::kMagic) {
    return Wrong("magic", magic, std::to_string(SlabHeader::kMagic));
  }
  if (const auto version = reader.Get<uint16_t>(); version != SlabHeader::kVersion) {
    return Wrong("version", version, std::to_string(SlabHeader::kVersion));
  }
  if (const auto size = reader.Get<uint16_t>(); size != SlabHeader::kBytes) {
    return Wrong("header bytes", size, "128");
  }
  SlabHeader header;
  header.transfer_id = reader.Get<std::array<std::byte, 16>>();
  header.attempt = reader.Get<uint32_t>();
  header.slab_number = reader.Get<uint32_t>();
  for (uint32_t* bound : {&header.range.l0, &header.range.l1, &header.range.h0, &header.range.h1,
                          &header.range.t0, &header.range.t1}) {
    *bound = reader.Get<uint32_t>();
  }
  const auto k = reader.Get<uint8_t>();
  const auto v = reader.Get<uint8_t>();
  const auto zero16 = reader.Get<uint16_t>();
  const auto zero32 = reader.Get<uint32_t>();
  header.payload_bytes = reader.Get<uint64_t>();
  header.checksum = reader.Get<uint64_t>();
  if (auto error = CheckRange(header.range)) return *std::move(error);
  const std::optional<KvFormat> k_format = KvFormatFromCode(k);
  const std::optional<KvFormat> v_format = KvFormatFromCode(v);
  if (!k_format) return Wrong("format of K", k, "1 to 6");
  if (!v_format) return Wrong("format of V", v, "1 to 6");
  header.formats = {*k_format, *v_format};
  if (zero16 != 0 || zero32 != 0) return Wrong("zero fields", zero16 | zero32, "0");
  const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  if (!std::all_of(bytes.begin() + kReservedOffset, bytes.end(), is_zero)) {
    return std::string("slab header rest: not zero, expected 48 zero bytes");
  }
  const auto layout = SlabLayout::Make(header.range, header.formats, head_dim);
  if (!layout) return std::string("slab header ranges: their payload is beyond any size");
  if (layout->payload_bytes() != header.payload_bytes) {
    return Wrong("payload bytes", header.payload_bytes, std::to_string(layout->payload_bytes()));
  }
  return header;
}

std::optional<SlabLayout> SlabLayout::Make(const SlabRange& range, KvFormats formats,
                                           int head_dim) {
  if (CheckRange(range)) return std::nullopt;
  if (head_dim < 16 || head_dim > KvPageLayout::kMaxHeadDim || head_dim % 16 != 0) {
    return std::nullopt;
  }
  SlabLayout layout;
  layout.layers_ = range.l1 - range.l0;
  layout.heads_ = range.h1 - range.h0;
  layout.tokens_ = range.t1 - range.t0;
  layout.head_dim_ = head_dim;
  layout.formats_ = formats;
  const uint64_t groups = uint64_t{layout.heads_} * layout.tokens_;  // below 2^64: no overflow
  uint64_t end = 0;
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    const int i = static_cast<int>(tensor);
    layout.code_start_[i] = end;
    if (!AddSection(groups, KvCodeBytes(layout.format(tensor), head_dim), end)) return std::nullopt;
    layout.scale_start_[i] = end;
    if (!AddSection(groups, KvScaleBytes(layout.format(tensor)), end)) return std::nullopt;
  }
  layout.layer_bytes_ = end;
  uint64_t total = 0;
  if (!AddSection(layout.layers_, end, total)) return std::nullopt;
  return layout;
}

uint64_t PayloadChecksum(std::span<const std::byte> bytes, uint64_t first_word) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size() / 8; ++i) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + 8 * i, sizeof(word));
    sum += ChecksumWord(word, first_word + i);
  }
  return sum;
}

uint64_t HeaderChecksum(const SlabHeader& header) {
  SlabHeaderBytes bytes = EncodeSlabHeader(header);
  std::memset(bytes.data() + kChecksumOffset, 0, sizeof(uint64_t));
  return PayloadChecksum(bytes, kHeaderFirstWord);
}

}  // namespace baton::kernels
