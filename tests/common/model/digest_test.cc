#include "common/model/digest.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace baton {
namespace {

Digest Of(const std::string& text) {
  return DigestOf(std::as_bytes(std::span(text.data(), text.size())));
}

// Workers of different builds compare digests: the values are part of the contract.
TEST(Digest, IsFixed) {
  EXPECT_EQ(Of("").ToString(), "0100a32e7474e0ad37e1f6eb557c7cfa");
  EXPECT_EQ(Of("baton").ToString(), "f260b1713257be780601fbb6ac3f8dd2");
  EXPECT_EQ(Of(std::string(1000, 'x')).ToString(), "541e48c9c6fe4321b77c6cc46ad5a4bc");
}

TEST(Digest, EveryByteAndTheLengthCount) {
  std::set<Digest> seen;
  std::string text(257, '\0');
  seen.insert(Of(text));
  for (size_t i = 0; i < text.size(); ++i) {
    text[i] = 1;
    EXPECT_TRUE(seen.insert(Of(text)).second) << i;
    text[i] = 0;
  }
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_TRUE(seen.insert(Of(text.substr(0, length))).second) << length;
  }
}

TEST(Digest, SwappedWordsOfOneLaneDiffer) {
  std::string text(128, 'a');
  text[0] = 'b';
  std::string swapped(128, 'a');
  swapped[64] = 'b';
  EXPECT_NE(Of(text), Of(swapped));
}

TEST(DigestBuilder, FieldBoundariesCount) {
  EXPECT_NE(DigestBuilder().Add("ab").Add("c").Finish(),
            DigestBuilder().Add("a").Add("bc").Finish());
  EXPECT_NE(DigestBuilder().Add("a").Finish(), DigestBuilder().Add("a").Add("").Finish());
  EXPECT_EQ(DigestBuilder().Add("a").Add(uint64_t{3}).Finish(),
            DigestBuilder().Add("a").Add(uint64_t{3}).Finish());
}

}  // namespace
}  // namespace baton
