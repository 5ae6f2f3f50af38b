#include "common/tokenizer/byte_level.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace baton {
namespace {

TEST(ByteLevelTest, SpellsLikeTheReference) {
  EXPECT_EQ(SpellByte('A'), "A");
  EXPECT_EQ(SpellByte(' '), "\u0120");
  EXPECT_EQ(SpellByte('\n'), "\u010A");
  EXPECT_EQ(SpellByte(0), "\u0100");
  EXPECT_EQ(SpellByte(0x7F), "\u0121");
  EXPECT_EQ(SpellByte(0xA0), "\u0142");
  EXPECT_EQ(SpellByte(0xAD), "\u0143");
  EXPECT_EQ(SpellByte(0xFF), "\u00FF");
}

TEST(ByteLevelTest, EveryByteHasItsOwnSpelling) {
  std::set<std::string> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelling = SpellByte(static_cast<uint8_t>(byte));
    EXPECT_TRUE(seen.insert(spelling).second);
    EXPECT_EQ(UnspellBytes(spelling), std::string(1, static_cast<char>(byte)));
  }
}

TEST(ByteLevelTest, RefusesOtherCharacters) {
  EXPECT_EQ(UnspellBytes("a b"), std::nullopt);
  EXPECT_EQ(UnspellBytes("\u0144"), std::nullopt);
  EXPECT_EQ(UnspellBytes("\u4e2d"), std::nullopt);
  EXPECT_EQ(UnspellBytes("a\xff"), std::nullopt);
  EXPECT_EQ(UnspellBytes(""), "");
}

}  // namespace
}  // namespace baton
