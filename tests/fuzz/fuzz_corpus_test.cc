// Every input of the corpora, crashers found among them, without a fuzzer: each in memory of its
// exact size, so that a sanitizer sees a read beyond it.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "tests/fuzz/targets.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

class FuzzCorpus : public ::testing::TestWithParam<fuzz::NamedTarget> {};

void RunOn(const fuzz::NamedTarget& target, const std::vector<char>& bytes) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  target.run({exact.get(), bytes.size()});
}

// Whole, and cut off at some places.
TEST_P(FuzzCorpus, IsReadOrRefused) {
  const fs::path folder = fs::path(BATON_FUZZ_CORPUS) / GetParam().name;
  int inputs = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    RunOn(GetParam(), bytes);
    for (int cut = 1; cut < 8; ++cut) {
      const size_t size = bytes.size() * static_cast<size_t>(cut) / 8;
      RunOn(GetParam(), {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
    }
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus,
                         ::testing::ValuesIn(fuzz::Targets().begin(), fuzz::Targets().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace baton
