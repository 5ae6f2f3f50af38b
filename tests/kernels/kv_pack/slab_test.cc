#include "kernels/kv_pack/slab.h"

#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

using ::testing::HasSubstr;

constexpr int kHeadDim = 48;

SlabHeader GoodHeader() {
  SlabHeader header;
  for (int i = 0; i < 16; ++i) header.transfer_id[i] = static_cast<std::byte>(i + 1);
  header.attempt = 3;
  header.slab_number = 0x01020304;
  header.range = {2, 5, 0, 2, 16, 33};
  header.formats = {KvFormat::kInt8, KvFormat::kInt4};
  header.payload_bytes = SlabLayout::Make(header.range, header.formats, kHeadDim)->payload_bytes();
  header.checksum = 0x1122334455667788;
  return header;
}

std::string DecodeError(const SlabHeaderBytes& bytes, int head_dim = kHeadDim) {
  const auto decoded = DecodeSlabHeader(bytes, head_dim);
  return std::holds_alternative<std::string>(decoded) ? std::get<std::string>(decoded) : "accepted";
}

template <typename T>
SlabHeaderBytes With(size_t offset, T value) {
  SlabHeaderBytes bytes = EncodeSlabHeader(GoodHeader());
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  return bytes;
}

TEST(SlabHeaderTest, BytesAreAsWritten) {
  const SlabHeaderBytes bytes = EncodeSlabHeader(GoodHeader());
  EXPECT_EQ(std::memcmp(bytes.data(), "BTNS", 4), 0);
  const auto u8 = [&](size_t i) { return static_cast<int>(bytes[i]); };
  EXPECT_EQ(u8(4), 1);    // version
  EXPECT_EQ(u8(6), 128);  // header bytes
  EXPECT_EQ(u8(8), 1);    // transfer id
  EXPECT_EQ(u8(23), 16);
  EXPECT_EQ(u8(24), 3);  // attempt
  EXPECT_EQ(u8(28), 4);  // slab number, little-endian
  EXPECT_EQ(u8(31), 1);
  EXPECT_EQ(u8(32), 2);     // l0
  EXPECT_EQ(u8(36), 5);     // l1
  EXPECT_EQ(u8(48), 16);    // t0
  EXPECT_EQ(u8(52), 33);    // t1
  EXPECT_EQ(u8(56), 5);     // int8
  EXPECT_EQ(u8(57), 6);     // int4
  EXPECT_EQ(u8(72), 0x88);  // checksum
  for (size_t i = 80; i < 128; ++i) EXPECT_EQ(u8(i), 0) << i;
}

TEST(SlabHeaderTest, RoundTrip) {
  const auto decoded = DecodeSlabHeader(EncodeSlabHeader(GoodHeader()), kHeadDim);
  ASSERT_TRUE(std::holds_alternative<SlabHeader>(decoded)) << std::get<std::string>(decoded);
  EXPECT_EQ(std::get<SlabHeader>(decoded), GoodHeader());
}

TEST(SlabHeaderTest, EveryWrongFieldIsNamed) {
  EXPECT_THAT(DecodeError(With(0, uint32_t{0x12345678})), HasSubstr("magic"));
  EXPECT_THAT(DecodeError(With(4, uint16_t{2})), HasSubstr("version"));
  EXPECT_THAT(DecodeError(With(6, uint16_t{64})), HasSubstr("header bytes"));
  EXPECT_THAT(DecodeError(With(36, uint32_t{2})), HasSubstr("l1"));
  EXPECT_THAT(DecodeError(With(44, uint32_t{0})), HasSubstr("h1"));
  EXPECT_THAT(DecodeError(With(48, uint32_t{34})), HasSubstr("t1"));
  EXPECT_THAT(DecodeError(With(56, uint8_t{0})), HasSubstr("format of K"));
  EXPECT_THAT(DecodeError(With(57, uint8_t{7})), HasSubstr("format of V"));
  EXPECT_THAT(DecodeError(With(58, uint16_t{1})), HasSubstr("zero"));
  EXPECT_THAT(DecodeError(With(60, uint32_t{1})), HasSubstr("zero"));
  EXPECT_THAT(DecodeError(With(64, GoodHeader().payload_bytes + 16)), HasSubstr("payload bytes"));
  EXPECT_THAT(DecodeError(With(80, uint8_t{1})), HasSubstr("rest"));
  EXPECT_THAT(DecodeError(With(127, uint8_t{1})), HasSubstr("rest"));
  EXPECT_NE(DecodeError(EncodeSlabHeader(GoodHeader()), 64), "accepted");
  EXPECT_NE(DecodeError(EncodeSlabHeader(GoodHeader()), 0), "accepted");
  EXPECT_NE(DecodeError(EncodeSlabHeader(GoodHeader()), -16), "accepted");
}

TEST(SlabHeaderTest, WrongSizesAreRefused) {
  const SlabHeaderBytes bytes = EncodeSlabHeader(GoodHeader());
  std::vector<std::byte> longer(bytes.begin(), bytes.end());
  longer.push_back(std::byte{0});
  for (const size_t size : {size_t{0}, size_t{4}, size_t{127}, size_t{129}}) {
    const auto decoded = DecodeSlabHeader({longer.data(), size}, kHeadDim);
    EXPECT_TRUE(std::holds_alternative<std::string>(decoded)) << size;
  }
}

TEST(SlabHeaderTest, HugeRangesDoNotOverflow) {
  SlabHeader header = GoodHeader();
  constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
  header.range = {0, kMax, 0, kMax, 0, kMax};
  header.formats = {KvFormat::kFp16, KvFormat::kFp16};
  EXPECT_THAT(DecodeError(EncodeSlabHeader(header), 256), HasSubstr("beyond any size"));
  // Sections of 2^40 bytes fit; 2^32 layers of them do not.
  header.range = {0, kMax, 0, 1u << 12, 0, 1u << 19};
  EXPECT_THAT(DecodeError(EncodeSlabHeader(header), 256), HasSubstr("beyond any size"));
  header.payload_bytes = 0;
  EXPECT_THAT(DecodeError(EncodeSlabHeader(header), 256), HasSubstr("beyond any size"));
}

TEST(SlabHeaderTest, RandomBytesAreNeverAccepted) {
  const uint32_t seed = 11;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    SlabHeaderBytes bytes = EncodeSlabHeader(GoodHeader());
    const int flips = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < flips; ++i) bytes[random() % 128] = static_cast<std::byte>(random());
    const auto decoded = DecodeSlabHeader(bytes, kHeadDim);
    if (const auto* header = std::get_if<SlabHeader>(&decoded)) {
      // What passes is a consistent header, and its encoding is what came in.
      EXPECT_EQ(EncodeSlabHeader(*header), bytes) << "seed " << seed << " round " << round;
      EXPECT_EQ(header->payload_bytes,
                SlabLayout::Make(header->range, header->formats, kHeadDim)->payload_bytes());
    }
  }
}

TEST(SlabLayoutTest, SectionsByHand) {
  // 1 head x 3 tokens x 48 dims: K int8 144 + 6 -> 16 bytes of scales; V int4 72 -> 80, scales 12
  // -> 16.
  const auto layout = SlabLayout::Make({0, 2, 4, 5, 7, 10}, {KvFormat::kInt8, KvFormat::kInt4}, 48);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->CodeSection(0, KvTensor::kKey), 0u);
  EXPECT_EQ(layout->ScaleSection(0, KvTensor::kKey), 144u);
  EXPECT_EQ(layout->CodeSection(0, KvTensor::kValue), 160u);
  EXPECT_EQ(layout->ScaleSection(0, KvTensor::kValue), 240u);
  EXPECT_EQ(layout->TensorEnd(0, KvTensor::kKey), 160u);
  EXPECT_EQ(layout->TensorEnd(0, KvTensor::kValue), 256u);
  EXPECT_EQ(layout->CodeSection(1, KvTensor::kKey), 256u);
  EXPECT_EQ(layout->payload_bytes(), 512u);
}

TEST(SlabLayoutTest, FormatsWithoutScalesHaveEmptyScaleSections) {
  const auto layout =
      SlabLayout::Make({0, 1, 0, 2, 0, 5}, {KvFormat::kFp16, KvFormat::kFp8E5m2}, 16);
  EXPECT_EQ(layout->ScaleSection(0, KvTensor::kKey), layout->CodeSection(0, KvTensor::kValue));
  EXPECT_EQ(layout->payload_bytes(), 2u * 5 * (32 + 16));
}

TEST(SlabLayoutTest, EmptyRangesAndBadDimensionsAreRefused) {
  const KvFormats formats;
  EXPECT_FALSE(SlabLayout::Make({1, 1, 0, 1, 0, 1}, formats, 16).has_value());
  EXPECT_FALSE(SlabLayout::Make({0, 1, 2, 1, 0, 1}, formats, 16).has_value());
  EXPECT_FALSE(SlabLayout::Make({0, 1, 0, 1, 5, 5}, formats, 16).has_value());
  EXPECT_FALSE(SlabLayout::Make({0, 1, 0, 1, 0, 1}, formats, 24).has_value());
  EXPECT_FALSE(SlabLayout::Make({0, 1, 0, 1, 0, 1}, formats, 512).has_value());
}

TEST(ChecksumTest, Splitmix64Finalizer) {
  // The first outputs of splitmix64 from seed 0 (state advances by the golden gamma before the
  // finalizer).
  EXPECT_EQ(Mix64(0x9E3779B97F4A7C15u), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(Mix64(2 * 0x9E3779B97F4A7C15u), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(Mix64(3 * 0x9E3779B97F4A7C15u), 0x06C45D188009454Fu);
}

TEST(ChecksumTest, PartsAddUpInAnyOrder) {
  std::vector<std::byte> bytes(1024);
  std::mt19937 random(3);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const uint64_t whole = PayloadChecksum(bytes);
  const std::span<const std::byte> span(bytes);
  EXPECT_EQ(PayloadChecksum(span.subspan(512), 64) + PayloadChecksum(span.first(512)), whole);
  // Sensitive to a bit, and to the exchange of two words.
  auto changed = bytes;
  changed[700] ^= std::byte{1};
  EXPECT_NE(PayloadChecksum(changed), whole);
  changed = bytes;
  std::swap_ranges(changed.begin(), changed.begin() + 8, changed.begin() + 8);
  EXPECT_NE(PayloadChecksum(changed), whole);
}

TEST(ChecksumTest, HeaderCoversAllButTheChecksum) {
  SlabHeader header = GoodHeader();
  const uint64_t sum = HeaderChecksum(header);
  header.checksum = 1;
  EXPECT_EQ(HeaderChecksum(header), sum);
  header.attempt += 1;
  EXPECT_NE(HeaderChecksum(header), sum);
}

TEST(ChecksumTest, ByHand) {
  std::vector<std::byte> bytes(16, std::byte{0});
  bytes[8] = std::byte{5};
  EXPECT_EQ(PayloadChecksum(bytes), Mix64(0) + Mix64(5 ^ 0x9E3779B97F4A7C15u));
  EXPECT_EQ(DigestTerm(10, 3), Mix64(10 ^ 3));
}

}  // namespace
}  // namespace baton::kernels
