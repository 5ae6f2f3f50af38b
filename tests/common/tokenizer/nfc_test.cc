#include "common/tokenizer/nfc.h"

#include <gtest/gtest.h>

#include <string>

namespace baton {
namespace {

TEST(NfcTest, ComposesAndOrders) {
  EXPECT_EQ(NormalizeNfc("plain"), "plain");
  EXPECT_EQ(NormalizeNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(NormalizeNfc("\u212b"), "\u00c5");                // angstrom sign
  EXPECT_EQ(NormalizeNfc("q\u0307\u0323"), "q\u0323\u0307");  // canonical order
  EXPECT_EQ(NormalizeNfc("\u1112\u1161\u11ab"), "\ud55c");    // Hangul
  EXPECT_EQ(NormalizeNfc("\u0958"), "\u0915\u093c");          // composition exclusion
  EXPECT_EQ(NormalizeNfc("\ufb01"), "\ufb01");                // compatibility: kept
  EXPECT_EQ(NormalizeNfc("a\u0328\u0301"), "\u0105\u0301");
}

// Marks and compositions of Unicode 10 and later are not in the reference's tables.
TEST(NfcTest, LeavesNewerCharactersAlone) {
  EXPECT_EQ(NormalizeNfc("q\u0301\u1df8\u0323"), "q\u0301\u1df8\u0323");
  EXPECT_EQ(NormalizeNfc("\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(NormalizeNfc("\U00011938e\u0301"), "\U00011938\u00e9");
}

// Alternating marks of two classes are the worst case of an insertion sort.
TEST(NfcTest, SortsAMebibyteOfMarks) {
  std::string text = "a";
  std::string low;
  std::string high;
  while (text.size() < (size_t{1} << 20)) {
    text += "\u0315\u0323";
    low += "\u0323";
    high += "\u0315";
  }
  EXPECT_EQ(NormalizeNfc(text), "\u1ea1" + low.substr(2) + high);
}

}  // namespace
}  // namespace baton
