#include "common/eval/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "common/base/status.h"

namespace baton {
namespace {

// Two windows whose negative log-likelihood exceeds the reference's by `increase` ± `spread`.
PairScores Scores(double increase, double spread = 0, double kl = 0, double agreement = 1) {
  return {.window_nll = {2 + increase - spread, 3 + increase + spread},
          .window_kl = {kl, kl},
          .window_agreement = {agreement, agreement},
          .nll_by_position = {0},
          .kl_by_position = {kl},
          .agreement_by_position = {agreement},
          .first_difference = {0, 0}};
}

AccuracyMatrix Example() {
  AccuracyMatrix matrix;
  matrix.reference_scores = Scores(0);
  matrix.prefills = {"w8a8"};
  matrix.kvs = {"int8"};
  matrix.decodes = {"w4a16", "fp16"};
  matrix.cells = {{"w8a8", "w4a16", "int8", Scores(0.04, 0.001, 0.05, 0.9)},
                  {"w8a8", "fp16", "int8", Scores(0.002, 0, 0.001, 0.99)}};
  return matrix;
}

std::vector<std::string> Broken(const std::string& bound) {
  const auto bounds = ParseGate("{\"bounds\": [" + bound + "]}");
  EXPECT_TRUE(bounds.ok()) << ToString(bounds.status());
  return bounds.ok() ? CheckGate(*bounds, Example()) : std::vector<std::string>{"not parsed"};
}

TEST(Gate, HoldsWhereTheUpperEndHolds) {
  // The mean is 4.08 %; with two windows the interval reaches 1.3 further on each side.
  EXPECT_TRUE(Broken(R"({"decode": "w4a16", "max_increase_percent": 5.5})").empty());
  const auto broken = Broken(R"({"name": "pair", "decode": "w4a16", "max_increase_percent": 4.5})");
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_NE(broken[0].find("pair: w8a8 → int8 → w4a16"), std::string::npos) << broken[0];
  EXPECT_NE(broken[0].find("at most 4.5"), std::string::npos) << broken[0];
}

TEST(Gate, EveryKindOfBoundCanBreak) {
  EXPECT_EQ(Broken(R"({"max_kl": 0.02})").size(), 1u);
  EXPECT_EQ(Broken(R"({"max_kl": 0.0001})").size(), 2u);  // both cells
  EXPECT_TRUE(Broken(R"({"max_kl": 0.06})").empty());
  EXPECT_EQ(Broken(R"({"min_agreement": 0.95})").size(), 1u);
  EXPECT_TRUE(Broken(R"({"min_agreement": 0.9})").empty());
  const std::string over = R"("over": {"prefill": "w8a8", "kv": "int8", "decode": "fp16"})";
  EXPECT_TRUE(Broken(R"({"decode": "w4a16", "max_increase_percent": 5.3, )" + over + "}").empty());
  EXPECT_EQ(Broken(R"({"decode": "w4a16", "max_increase_percent": 3, )" + over + "}").size(), 1u);
  const std::string to = R"("ratio_to": {"prefill": "w8a8", "kv": "int8", "decode": "w4a16"})";
  EXPECT_TRUE(Broken(R"({"decode": "fp16", "max_increase_ratio": 0.06, )" + to + "}").empty());
  EXPECT_EQ(Broken(R"({"decode": "fp16", "max_increase_ratio": 0.04, )" + to + "}").size(), 1u);
}

TEST(Gate, NeverPassesForLackOfAMeasurement) {
  EXPECT_EQ(Broken(R"({"decode": "w4a8", "max_kl": 1})").size(), 1u);
  EXPECT_EQ(Broken(R"({"max_increase_percent": 50,
                      "over": {"prefill": "w8a8", "kv": "int4", "decode": "fp16"}})")
                .size(),
            2u);
  AccuracyMatrix one = Example();
  one.reference_scores.window_nll.pop_back();
  one.cells[0].scores.window_nll.pop_back();
  one.cells.pop_back();
  const auto bounds = ParseGate(R"({"bounds": [{"max_increase_percent": 1000}]})");
  ASSERT_TRUE(bounds.ok());
  EXPECT_EQ(CheckGate(*bounds, one).size(), 1u);  // one window: no upper end
  AccuracyMatrix broken = Example();
  broken.cells[0].scores.window_nll[0] = std::nan("");
  EXPECT_EQ(CheckGate(*bounds, broken).size(), 1u);
}

TEST(Gate, RefusesBadFilesByField) {
  const auto message = [](const std::string& text) { return ToString(ParseGate(text).status()); };
  EXPECT_NE(message("{").find("gate"), std::string::npos);
  EXPECT_NE(message("{}").find("bounds"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": []})").find("bounds"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": [3]})").find("bounds[0]"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": [{"max_k": 1}]})").find("max_k"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": [{"decode": "w4a16"}]})").find("no limit"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": [{"max_kl": -1}]})").find("max_kl"), std::string::npos);
  EXPECT_NE(message(R"({"bounds": [{"max_increase_ratio": 1}]})").find("ratio_to"),
            std::string::npos);
  EXPECT_NE(message(R"({"bounds": [{"max_kl": 1, "over": {"prefill": "w8a8"}}]})").find("over"),
            std::string::npos);
}

// The file that is offered as an example is a gate, and one that can fail.
TEST(Gate, TheExampleFileHasBounds) {
  std::ifstream file(BATON_SOURCE_DIR "/deploy/accuracy_gate.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto bounds = ParseGate(text.str());
  ASSERT_TRUE(bounds.ok()) << ToString(bounds.status());
  EXPECT_FALSE(CheckGate(*bounds, Example()).empty());
}

}  // namespace
}  // namespace baton
