#include "common/calibrate/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace baton {
namespace {

using ::testing::HasSubstr;

std::vector<LayerReport> Layers(double scale) {
  std::vector<LayerReport> layers(2);
  for (int i = 0; i < 2; ++i) {
    layers[i].layer = i;
    for (const Linear linear : kAllLinears) {
      layers[i].linears.push_back({.linear = linear,
                                   .sqnr_db = 20,
                                   .held_out_error = 0.1,
                                   .relative_error = 0.005 * scale,
                                   .nearest_error = 0.007 * scale,
                                   .bits_per_weight = 4.16});
    }
  }
  layers[1].linears[6].relative_error = 0.021 * scale;
  layers[0].linears[0].relative_error = 0.9;
  layers[0].linears[0].bits_per_weight = 16;  // kept: no matter
  return layers;
}

TEST(Report, WarnsOfWhatIsFarAboveTheMedian) {
  const std::vector<std::string> warnings = SensitiveLayers(Layers(1));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0],
            "model.layers.1.mlp.down_proj: 2.10 % of the output's power, 4.2 times the median");
  EXPECT_TRUE(SensitiveLayers(Layers(0.01)).empty());  // far above the median, and still little
  EXPECT_TRUE(SensitiveLayers({}).empty());
}

TEST(Report, TableHasALinePerLinearLayer) {
  const std::string text = ReportText(Layers(1));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 15);
  EXPECT_THAT(text, HasSubstr("self_attn.q_proj      16      kept"));
  EXPECT_THAT(text, HasSubstr("2.1000"));
}

TEST(Report, FileKeepsWhatEarlierRunsWrote) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "report_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const LayerReport& layer : Layers(1)) ASSERT_TRUE(AppendReport(folder, layer).ok());
  std::ifstream file(folder / kReportFile);
  std::string line;
  int count = 0;
  for (; std::getline(file, line); ++count) {
    const nlohmann::json json = nlohmann::json::parse(line);
    EXPECT_EQ(json["layer"], count);
    EXPECT_EQ(json["linears"].size(), 7u);
  }
  EXPECT_EQ(count, 2);
  EXPECT_FALSE(AppendReport(folder / "absent", Layers(1)[0]).ok());
}

}  // namespace
}  // namespace baton
