#include "common/handoff/ucx/wire.h"

#include <gtest/gtest.h>

#include <random>

namespace baton::ucx {
namespace {

TEST(Wire, HelloSurvivesTheRoundTrip) {
  for (const std::string& id : {std::string("p"), std::string(kMaxWorkerIdBytes, 'x')}) {
    const auto bytes = EncodeHello({WorkerId(id), Incarnation(0xF123456789ABCDEFull)});
    ASSERT_TRUE(bytes.ok());
    const auto peer = DecodeHello(*bytes);
    ASSERT_TRUE(peer.ok()) << peer.status();
    EXPECT_EQ(peer->worker.value(), id);
    EXPECT_EQ(peer->incarnation.value(), 0xF123456789ABCDEFull);
  }
}

TEST(Wire, HelloBytesAreFixed) {
  const auto bytes = EncodeHello({WorkerId("ab"), Incarnation(0x0102030405060708ull)});
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, std::string("BATN\1\0\0\0\10\7\6\5\4\3\2\1\2\0\0\0ab", 22));
}

TEST(Wire, RefusesEveryTruncationAndExtension) {
  const std::string bytes = *EncodeHello({WorkerId("worker"), Incarnation(1)});
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(DecodeHello(bytes.substr(0, n)).ok()) << n;
  EXPECT_FALSE(DecodeHello(bytes + "x").ok());
  const std::string welcome = EncodeWelcome(true);
  for (size_t n = 0; n < welcome.size(); ++n) {
    EXPECT_FALSE(DecodeWelcome(welcome.substr(0, n)).ok()) << n;
  }
}

TEST(Wire, RefusesOtherMagicVersionAndIds) {
  std::string bytes = *EncodeHello({WorkerId("worker"), Incarnation(1)});
  std::string other = bytes;
  other[0] ^= 1;
  EXPECT_EQ(DecodeHello(other).status().code(), absl::StatusCode::kInvalidArgument);
  other = bytes;
  other[4] = 2;
  EXPECT_EQ(DecodeHello(other).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(EncodeHello({WorkerId(""), Incarnation(1)}).ok());
  EXPECT_FALSE(EncodeHello({WorkerId(std::string(257, 'x')), Incarnation(1)}).ok());
}

TEST(Wire, RandomBytesNeverCrash) {
  std::mt19937 rng(20240607);
  for (int round = 0; round < 10'000; ++round) {
    std::string bytes(rng() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(rng());
    EXPECT_FALSE(DecodeHello(bytes).ok());
    EXPECT_FALSE(DecodeWelcome(bytes).ok());
  }
}

TEST(Wire, WelcomeSaysYesOrNo) {
  EXPECT_TRUE(*DecodeWelcome(EncodeWelcome(true)));
  EXPECT_FALSE(*DecodeWelcome(EncodeWelcome(false)));
}

}  // namespace
}  // namespace baton::ucx
