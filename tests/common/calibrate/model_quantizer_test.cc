#include "common/calibrate/model_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "common/base/status.h"
#include "common/model/safetensors.h"

namespace baton {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Token ids are drawn: what is tested here needs inputs, not language.
CalibrationTokens Tokens() {
  CalibrationTokens tokens{.window = 16, .tokens = {}};
  std::mt19937 random(11);
  for (int i = 0; i < 16 * 16; ++i) tokens.tokens.push_back(static_cast<int32_t>(random() % 4000));
  return tokens;
}

fs::path Fresh(const std::string& name) {
  const fs::path path = fs::path(testing::TempDir()) / ("model_quantizer_" + name);
  fs::remove_all(path);
  return path;
}

QuantizeTarget Target(const std::string& scheme, const fs::path& out,
                      const std::string& algorithm = "auto", bool smooth = false) {
  auto recipe = MakeRecipe({.scheme = scheme, .algorithm = algorithm, .smooth_cache = smooth});
  EXPECT_TRUE(recipe.ok()) << ToString(recipe.status());
  return {.recipe = *recipe, .out = out};
}

// Every tensor of a folder as its type, shape and bytes.
std::map<std::string, std::string> Contents(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto file = SafetensorsFile::Open(entry.path());
    EXPECT_TRUE(file.ok());
    for (const NamedTensor& tensor : file->tensors()) {
      const auto bytes = tensor.view.bytes;
      contents[tensor.name] =
          std::string(NameOf(tensor.view.type)) +
          std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  return contents;
}

nlohmann::json Config(const fs::path& folder) {
  std::ifstream file(folder / "config.json");
  return nlohmann::json::parse(file);
}

TEST(ModelQuantizer, MakesAPairWithOneIdentity) {
  const fs::path out = Fresh("pair");
  const auto reports = QuantizeModel({.model = BATON_TINY_MODEL,
                                      .targets = {Target("w8a8", out / "prefill", "auto", true),
                                                  Target("w4a16", out / "decode", "auto", true)},
                                      .calibration = Tokens()},
                                     Serial());
  ASSERT_TRUE(reports.ok()) << ToString(reports.status());
  ASSERT_EQ(reports->size(), 2u);
  const nlohmann::json prefill = Config(out / "prefill");
  const nlohmann::json decode = Config(out / "decode");
  EXPECT_EQ(prefill["baton"]["source_digest"], decode["baton"]["source_digest"]);
  EXPECT_EQ(prefill["baton"]["kv_basis"], decode["baton"]["kv_basis"]);
  EXPECT_FALSE(prefill["baton"]["kv_basis"].get<std::string>().empty());
  EXPECT_EQ(prefill["quantization_config"]["format"], "int-quantized");
  EXPECT_EQ(decode["quantization_config"]["format"], "pack-quantized");
  for (const QuantizeModelReport& report : *reports) {
    ASSERT_EQ(report.layers.size(), 6u);
    EXPECT_LT(report.cache_error, report.cache_error_plain);
    double error = 0;
    double nearest = 0;
    for (const LayerReport& layer : report.layers) {
      ASSERT_EQ(layer.linears.size(), 7u);
      for (const LinearReport& linear : layer.linears) {
        EXPECT_GT(linear.sqnr_db, 10);
        error += linear.relative_error;
        nearest += linear.nearest_error;
      }
    }
    EXPECT_GT(error, 0);
    EXPECT_GT(nearest, 0);
    std::ifstream lines(report.out / kReportFile);
    std::string line;
    int count = 0;
    while (std::getline(lines, line)) count += nlohmann::json::parse(line)["layer"] == count;
    EXPECT_EQ(count, 6);
  }
  EXPECT_NEAR((*reports)[0].bits_per_weight, 8, 0.1);
  EXPECT_NEAR((*reports)[1].bits_per_weight, 4 + 20.0 / 128, 0.01);
}

struct Interrupted {};

TEST(ModelQuantizer, ResumesToTheSameBytes) {
  const auto options = [](const fs::path& out) {
    return QuantizeModelOptions{
        .model = BATON_TINY_MODEL, .targets = {Target("w4a8", out)}, .calibration = Tokens()};
  };
  const fs::path whole = Fresh("whole");
  ASSERT_TRUE(QuantizeModel(options(whole), Serial()).ok());
  const fs::path parts = Fresh("parts");
  QuantizeModelOptions first = options(parts);
  first.progress = [](const QuantizeProgress& p) {
    if (p.done == 3) throw Interrupted();
  };
  EXPECT_THROW((void)QuantizeModel(first, Serial()), Interrupted);
  EXPECT_FALSE(fs::exists(parts / "config.json"));
  QuantizeModelOptions second = options(parts);
  EXPECT_EQ(QuantizeModel(second, Serial()).status().code(), absl::StatusCode::kAlreadyExists);
  second.resume = true;
  // Another recipe does not continue it.
  QuantizeModelOptions other = second;
  other.targets = {Target("w4a8", parts, "rtn")};
  EXPECT_FALSE(QuantizeModel(other, Serial()).ok());
  const auto reports = QuantizeModel(second, Serial());
  ASSERT_TRUE(reports.ok()) << ToString(reports.status());
  EXPECT_EQ((*reports)[0].layers_kept, 3);
  EXPECT_EQ(Contents(parts), Contents(whole));
}

TEST(ModelQuantizer, AlgorithmsWithoutTextNeedNone) {
  for (const char* algorithm : {"rtn", "hqq", "qoq"}) {
    const fs::path out = Fresh(algorithm);
    const auto reports = QuantizeModel({.model = BATON_TINY_MODEL,
                                        .targets = {Target("w4a16", out, algorithm)},
                                        .calibration = {.window = 16, .tokens = {}}},
                                       Serial());
    ASSERT_TRUE(reports.ok()) << algorithm << ToString(reports.status());
    EXPECT_GT((*reports)[0].layers[0].linears[0].sqnr_db, 15) << algorithm;
    EXPECT_TRUE(fs::exists(out / "config.json"));
  }
}

TEST(ModelQuantizer, SpendsABudgetOfBits) {
  const fs::path out = Fresh("bits");
  QuantizeTarget target = Target("w4a16", out, "rtn");
  target.bits = 4.6;
  const auto reports = QuantizeModel(
      {.model = BATON_TINY_MODEL, .targets = {target}, .calibration = Tokens()}, Serial());
  ASSERT_TRUE(reports.ok()) << ToString(reports.status());
  EXPECT_LE((*reports)[0].bits_per_weight, 4.6);
  EXPECT_GT((*reports)[0].bits_per_weight, 4.3);
  EXPECT_EQ(Config(out)["quantization_config"]["config_groups"].size(), 2u);
}

TEST(ModelQuantizer, Refusals) {
  const auto message = [](QuantizeModelOptions options) {
    options.model = BATON_TINY_MODEL;
    return std::string(MessageOf(QuantizeModel(options, Serial()).status()));
  };
  const fs::path out = Fresh("refused");
  EXPECT_THAT(message({}), HasSubstr("targets: none"));
  EXPECT_THAT(message({.targets = {Target("w4a16", out)},
                       .calibration = {.window = 16, .tokens = std::vector<int32_t>(64)}}),
              HasSubstr("calibration: 4 sequences"));
  EXPECT_THAT(
      message({.targets = {Target("w8a8", out / "p", "auto", true), Target("w4a16", out / "d")},
               .calibration = Tokens()}),
      HasSubstr("smooth_cache"));
  CalibrationTokens wrong = Tokens();
  wrong.tokens[5] = 1 << 20;
  EXPECT_THAT(message({.targets = {Target("w4a16", out)}, .calibration = wrong}),
              HasSubstr("calibration token: 1048576"));
  CalibrationTokens wide = Tokens();
  wide.window = 1 << 20;
  wide.tokens.resize(static_cast<size_t>(wide.window) * 16);
  EXPECT_THAT(message({.targets = {Target("w4a16", out)}, .calibration = wide}),
              HasSubstr("window: 1048576"));
}

}  // namespace
}  // namespace baton
