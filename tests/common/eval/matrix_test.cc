#include "common/eval/matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "common/eval/summary.h"

namespace baton {
namespace {

PairScores Scores(double increase, double kl) {
  return {.window_nll = {2 + increase, 2.5 + increase},
          .window_kl = {kl, kl},
          .window_agreement = {0.75, 0.75},
          .nll_by_position = {2 + increase, 2.5 + increase},
          .kl_by_position = {kl, kl},
          .agreement_by_position = {0.5, 1},
          .first_difference = {3, 8}};
}

AccuracyMatrix Example() {
  AccuracyMatrix matrix{.model = "tiny", .window = 64, .windows = 2, .greedy_tokens = 8};
  matrix.reference = "fp32";
  matrix.reference_scores = Scores(0, 0);
  matrix.prefills = {"fp16", "w8a8"};
  matrix.kvs = {"int8"};
  matrix.decodes = {"w4a16"};
  matrix.cells = {{"fp16", "w4a16", "int8", Scores(0.01, 0.002)},
                  {"w8a8", "w4a16", "int8", Scores(0.02, 0.004)}};
  return matrix;
}

TEST(MatrixReport, MarkdownHasALinePerPrefillAndFormat) {
  const std::string text = MatrixMarkdown(Example());
  EXPECT_NE(text.find("| prefill | KV | decode w4a16 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| w8a8 | int8 | +2.020 ± 0.000 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| fp16 | int8 | 2.00, 75.0 % |"), std::string::npos) << text;
}

TEST(MatrixReport, CsvHasAsManyValuesAsNames) {
  const std::string text = MatrixCsv(Example());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  const size_t first = text.find('\n');
  const std::string names = text.substr(0, first);
  const std::string line = text.substr(first + 1, text.find('\n', first + 1) - first - 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), ','), std::count(line.begin(), line.end(), ','));
  EXPECT_EQ(line.rfind("tiny,fp16,int8,w4a16,2,64,", 0), 0u) << line;
}

TEST(MatrixReport, JsonKeepsUnboundedEndsNull) {
  AccuracyMatrix matrix = Example();
  for (PairScores* scores : {&matrix.reference_scores, &matrix.cells[0].scores}) {
    scores->window_nll.pop_back();
  }
  matrix.cells.pop_back();
  const nlohmann::ordered_json json = MatrixJson(matrix);
  EXPECT_NEAR(json["cells"][0]["increase"]["mean"].get<double>(), 0.01005, 1e-5);
  EXPECT_TRUE(json["cells"][0]["increase"]["high"].is_null());
}

TEST(MatrixReport, HeatMapNamesEveryCell) {
  const std::string svg = MatrixHeatMap(Example());
  EXPECT_NE(svg.find("w8a8, int8"), std::string::npos);
  EXPECT_NE(svg.find("+2.02"), std::string::npos);
}

TEST(Summary, BucketsTileThePositions) {
  PairScores scores = Scores(0, 0);
  scores.kl_by_position.assign(10, 0);
  std::iota(scores.kl_by_position.begin(), scores.kl_by_position.end(), 0.0);
  scores.nll_by_position.assign(10, 2.0);
  scores.agreement_by_position.assign(10, 0.5);
  PairScores reference = scores;
  reference.nll_by_position.assign(10, 1.9);
  const std::vector<PositionBucket> buckets = BucketPositions(scores, reference, 3);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[0].first, 0);
  EXPECT_EQ(buckets[1].first, buckets[0].end);
  EXPECT_EQ(buckets[2].end, 10);
  EXPECT_DOUBLE_EQ(buckets[0].kl, 1);  // of 0, 1, 2
  EXPECT_NEAR(buckets[1].increase, std::expm1(0.1), 1e-12);
  EXPECT_EQ(BucketPositions(scores, reference, 100).size(), 10u);
}

TEST(Summary, GreedyMedianAndShareUnchanged) {
  PairScores scores;
  scores.first_difference = {8, 1, 4, 8};
  const GreedySummary summary = SummarizeGreedy(scores, 8);
  EXPECT_DOUBLE_EQ(summary.median, 6);
  EXPECT_DOUBLE_EQ(summary.unchanged, 0.5);
}

}  // namespace
}  // namespace baton
