#include "common/cli/input.h"

#include <gtest/gtest.h>

#include <fstream>

namespace baton {
namespace {

TEST(InputTest, ListsAndFiles) {
  EXPECT_EQ(*ParseTokenIds("1,2, 3"), (std::vector<int32_t>{1, 2, 3}));
  const std::string path = ::testing::TempDir() + "/ids.txt";
  std::ofstream(path) << "4\n5,6\n";
  EXPECT_EQ(*ParseTokenIds("@" + path), (std::vector<int32_t>{4, 5, 6}));
}

TEST(InputTest, WhatIsWrongIsNamed) {
  EXPECT_EQ(std::string(ParseTokenIds("1,x").status().message()),
            "token ids: 'x', expected integers of at least 0");
  EXPECT_FALSE(ParseTokenIds("-1").ok());
  EXPECT_FALSE(ParseTokenIds("99999999999").ok());
  EXPECT_FALSE(ParseTokenIds("").ok());
  EXPECT_EQ(ParseTokenIds("@no/such/file").status().code(), absl::StatusCode::kNotFound);
}

TEST(ParseLogitBiasTest, PairsOfIdAndValue) {
  using Biases = std::map<int32_t, float>;
  EXPECT_EQ(*ParseLogitBias("42:-5,7:0.5"), (Biases{{7, 0.5f}, {42, -5.0f}}));
  EXPECT_EQ(*ParseLogitBias(""), Biases{});
  for (const char* bad : {"42", "42:", ":1", "-1:2", "1:2;3:4", "1:2,1:3", "a:1", "1:x", "1:2 "}) {
    EXPECT_EQ(ParseLogitBias(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace baton
