#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/checkpoint.h"
#include "common/model/mapped_file.h"
#include "common/quant/formats/format_reader.h"

namespace baton::test {

// One layer packed by an independent program, and its matrix (fixtures/make_*.py).
struct FixtureCase {
  std::string format;  // the folder
  std::string name;    // the module
  int64_t n = 0;
  int64_t k = 0;
  std::string config;  // quantization_config
};
inline void PrintTo(const FixtureCase& c, std::ostream* out) { *out << c.format << "/" << c.name; }

// Every case of the folders under fixtures/.
inline std::vector<FixtureCase> FixtureCases() {
  std::vector<FixtureCase> cases;
  for (const auto& entry : std::filesystem::directory_iterator(BATON_FORMAT_FIXTURES)) {
    if (!std::filesystem::exists(entry.path() / "cases.json")) continue;
    const auto list =
        nlohmann::json::parse(*ReadTextFile(entry.path() / "cases.json", 1 << 20))["cases"];
    for (const nlohmann::json& c : list) {
      cases.push_back(
          {entry.path().filename(), c["case"], c["n"], c["k"], c["quantization_config"].dump()});
    }
  }
  return cases;
}

// The tensors of a folder's cases, which a test may change.
class FixtureTensors {
 public:
  explicit FixtureTensors(const std::string& format)
      : file_(*SafetensorsFile::Open(std::filesystem::path(BATON_FORMAT_FIXTURES) / format /
                                     "cases.safetensors")) {
    for (const NamedTensor& tensor : file_.tensors()) map[tensor.name] = tensor.view;
  }

  // A copy of a tensor's bytes, to be changed, which the map then points to.
  std::vector<std::byte>& Own(const std::string& name) {
    auto& copy = owned_.emplace_back(std::make_unique<std::vector<std::byte>>(
        map.at(name).bytes.begin(), map.at(name).bytes.end()));
    map.at(name).bytes = *copy;
    return *copy;
  }

  TensorMap map;

 private:
  SafetensorsFile file_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> owned_;
};

// Reads a case with the reader of its configuration.
inline absl::StatusOr<std::optional<QuantizedWeight>> ReadCase(const FixtureCase& c,
                                                               const TensorMap& tensors,
                                                               std::string_view config,
                                                               const RunParts& run = RunSerially) {
  const nlohmann::json json = nlohmann::json::parse(config);
  const auto reader = MakeFormatReader(JsonFields(json, "quantization_config."));
  if (!reader.ok()) return reader.status();
  return (*reader)->Read(ModuleTensors(tensors, c.name), c.n, c.k, run);
}

}  // namespace baton::test
