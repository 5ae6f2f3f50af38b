#include "common/cluster/model_probe.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/status.h"
#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

constexpr WeightFormat kSchemes[] = {WeightFormat::kFp32,  WeightFormat::kFp16,
                                     WeightFormat::kW8A8,  WeightFormat::kW8A8Fp8,
                                     WeightFormat::kW4A16, WeightFormat::kW4A8};

v1::ModelProbe ProbeOf(const std::filesystem::path& folder, WeightFormat format) {
  const auto model = test::LoadModel(folder, format);
  const auto runner = test::MakeRunner(model, {}, 16, kProbeTokens / 16, 2);
  const auto probe = TakeProbe(*runner, model->config.vocab_size);
  BATON_CHECK(probe.ok());
  return *probe;
}

using Probes = std::map<std::string, v1::ModelProbe>;  // by scheme

Probes ProbesOf(const std::filesystem::path& folder, std::span<const WeightFormat> formats) {
  Probes probes;
  for (const WeightFormat format : formats)
    probes[std::string(NameOf(format))] = ProbeOf(folder, format);
  return probes;
}

// A copy of a bf16 model in which every hundredth weight, drawn at random, has the other sign.
std::filesystem::path PerturbedCopy(const std::filesystem::path& folder) {
  const std::filesystem::path copy =
      std::filesystem::path(::testing::TempDir()) / ("perturbed_" + folder.filename().string());
  std::filesystem::remove_all(copy);
  std::filesystem::create_directories(copy);
  std::filesystem::copy_file(folder / "config.json", copy / "config.json");
  std::ifstream in(folder / "model.safetensors", std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::mt19937_64 rng(1);
  for (size_t i = 8 + header; i + 1 < bytes.size(); i += 2) {
    if (rng() % 100 == 0) bytes[i + 1] = static_cast<char>(bytes[i + 1] ^ 0x80);
  }
  std::ofstream(copy / "model.safetensors", std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return copy;
}

struct Extreme {
  double distance;
  std::string pair;
};

// Of all pairs of one probe from each.
void Compare(const std::string& name_a, const Probes& a, const std::string& name_b, const Probes& b,
             Extreme& smallest, Extreme& largest) {
  for (const auto& [scheme_a, probe_a] : a) {
    for (const auto& [scheme_b, probe_b] : b) {
      const double distance = *ProbeDistance(probe_a, probe_b);
      const std::string pair = fmt::format("{} {} / {} {}", name_a, scheme_a, name_b, scheme_b);
      if (distance < smallest.distance) smallest = {distance, pair};
      if (distance > largest.distance) largest = {distance, pair};
    }
  }
}

TEST(ModelProbe, TheBoundLiesBetweenOneModelAndTwo) {
  std::map<std::string, std::filesystem::path> folders = {{"tiny", BATON_TINY_MODEL}};
  if (test::HaveModel("small")) folders["small"] = test::ModelFolder("small");
  constexpr WeightFormat kEnds[] = {WeightFormat::kFp32, WeightFormat::kW4A8};
  Extreme same{0, ""};
  Extreme different{1e9, ""};
  Extreme unused{0, ""};
  std::map<std::string, Probes> models;
  for (const auto& [name, folder] : folders) {
    models[name] = ProbesOf(folder, kSchemes);
    Extreme nothing{0, ""};
    Compare(name, models[name], name, models[name], nothing, same);
    const Probes perturbed = ProbesOf(PerturbedCopy(folder), kEnds);
    Compare(name, models[name], "perturbed " + name, perturbed, different, unused);
  }
  if (models.size() == 2) {
    Compare("tiny", models["tiny"], "small", models["small"], different, unused);
  }
  fmt::print(
      "largest distance of one model:   {:.3f} ({})\n"
      "smallest distance of two models: {:.3f} ({})\n"
      "bound: {}\n",
      same.distance, same.pair, different.distance, different.pair, kProbeBound);
  // Room on both sides, so that another CPU's rounding does not decide.
  EXPECT_LT(1.2 * same.distance, kProbeBound);
  EXPECT_GT(different.distance, 1.2 * kProbeBound);
}

TEST(ModelProbe, TheFormatOfTheKvCacheMattersLittle) {
  const auto model = test::LoadModel(BATON_TINY_MODEL, WeightFormat::kW8A8);
  const auto probe = [&](kernels::KvFormats kv) {
    const auto runner = test::MakeRunner(model, kv, 16, kProbeTokens / 16);
    return *TakeProbe(*runner, model->config.vocab_size);
  };
  const v1::ModelProbe exact = probe({});
  EXPECT_EQ(*ProbeDistance(exact, probe({})), 0.0);
  EXPECT_LT(*ProbeDistance(exact, probe(*kernels::ParseKvFormats("int8"))), kProbeBound / 4);
}

}  // namespace
}  // namespace baton
