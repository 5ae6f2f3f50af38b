#include "common/model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/base/status.h"
#include "tests/common/model/safetensors_builder.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> Bytes(const std::string& image) {
  return std::as_bytes(std::span(image.data(), image.size()));
}

absl::Status StatusOf(std::string_view header, size_t data_bytes) {
  const std::string image = test::SafetensorsImage(header, data_bytes);
  return ParseSafetensors(Bytes(image), "f").status();
}

TEST(Safetensors, ReadsTensorsInFileOrderWhateverTheHeadersOrder) {
  const std::string image = test::SafetensorsImage(
      R"({"__metadata__":{"format":"pt"},
          "a":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},
          "b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
          "scalar":{"dtype":"F16","shape":[],"data_offsets":[20,22]},
          "empty":{"dtype":"F32","shape":[0,7],"data_offsets":[22,22]}}   )",
      22);
  const auto tensors = ParseSafetensors(Bytes(image), "f");
  ASSERT_TRUE(tensors.ok()) << ToString(tensors.status());
  ASSERT_EQ(tensors->size(), 4u);
  EXPECT_EQ((*tensors)[0].name, "b");
  EXPECT_EQ((*tensors)[0].view.type, DataType::kBf16);
  EXPECT_EQ((*tensors)[0].view.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*tensors)[0].view.bytes.size(), 12u);
  EXPECT_EQ((*tensors)[1].name, "a");
  EXPECT_EQ((*tensors)[1].view.bytes.data(), (*tensors)[0].view.bytes.data() + 12);
  EXPECT_EQ((*tensors)[2].view.bytes.size(), 2u);
  EXPECT_EQ((*tensors)[3].view.bytes.size(), 0u);
}

struct HostileCase {
  const char* name;
  const char* header;
  size_t data_bytes;
  const char* message;  // part of the error
};

class HostileSafetensors : public ::testing::TestWithParam<HostileCase> {};

TEST_P(HostileSafetensors, IsRefusedByName) {
  const absl::Status status = StatusOf(GetParam().header, GetParam().data_bytes);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Headers, HostileSafetensors,
    ::testing::Values(
        HostileCase{"Overlap",
                    R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                        "b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                    6, "'b': data starts at 2, expected 4 (it overlaps"},
        HostileCase{"SameRangeTwice",
                    R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                        "b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                    4, "overlaps"},
        HostileCase{"Hole",
                    R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                        "b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
                    5, "'b': data starts at 3, expected 2 (bytes before it belong to no tensor"},
        HostileCase{"HoleAtStart", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3,
                    "data starts at 1, expected 0"},
        HostileCase{"DataAfterTheLastTensor",
                    R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3,
                    "3 bytes of data, expected 2"},
        HostileCase{"Truncated", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3,
                    "'a': data_offsets [0,4], expected [begin, end] within 3 bytes"},
        HostileCase{"OffsetsBackwards", R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[4,0]}})",
                    4, "data_offsets [4,0]"},
        HostileCase{"NegativeOffset", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}})",
                    4, "data_offsets [-4,0]"},
        HostileCase{"FractionalOffset",
                    R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4.0]}})", 4,
                    "data_offsets [0,4.0]"},
        HostileCase{"OffsetOf2To63",
                    R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,9223372036854775808]}})", 4,
                    "9223372036854775808"},
        HostileCase{"SizeOf2To63",
                    R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4,
                    "expected sizes from 0 to 2^63 - 1"},
        HostileCase{"ProductThatWrapsToTheRightSize",
                    R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})",
                    0, "a size that overflows 64 bits"},
        HostileCase{"ProductThatWrapsWithZeroLast",
                    R"({"a":{"dtype":"F32","shape":[9223372036854775807,2,0],
                        "data_offsets":[0,0]}})",
                    0, "overflows"},
        HostileCase{"NegativeSize", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1,
                    "shape [-1]"},
        HostileCase{"TooManyDimensions",
                    R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
                    "at most 8 sizes"},
        HostileCase{"SizeAndShapeDisagree",
                    R"({"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,4]}})", 4,
                    "4 bytes of data, expected 8 for BF16 [2,2]"},
        HostileCase{"UnknownType", R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,2]}})", 2,
                    "'a': dtype \"Q4\""},
        HostileCase{"TypeMissing", R"({"a":{"shape":[2],"data_offsets":[0,2]}})", 2,
                    "dtype missing"},
        HostileCase{"ShapeMissing", R"({"a":{"dtype":"U8","data_offsets":[0,2]}})", 2,
                    "shape missing"},
        HostileCase{"OffsetsMissing", R"({"a":{"dtype":"U8","shape":[2]}})", 2,
                    "data_offsets missing"},
        HostileCase{"EntryIsNotAnObject", R"({"a":7})", 0, "'a': 7, expected an object"},
        HostileCase{"NameTwice",
                    R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                        "a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                    4, "key 'a' is given twice"},
        HostileCase{"TooDeep", R"({"a":{"b":{"c":{"d":{"e":{"f":1}}}}}})", 0, "nested 6 deep"},
        HostileCase{"NotUtf8", "{\"\xff\xfe\":{}}", 0, "not valid JSON"},
        HostileCase{"NotAnObject", "[1,2]", 0, "expected a JSON object"},
        HostileCase{"NotJson", "{\"a\":", 0, "not valid JSON"},
        HostileCase{"Empty", "", 0, "not valid JSON"}),
    [](const auto& info) { return info.param.name; });

TEST(Safetensors, RefusesAFileShorterThanItsLengthField) {
  EXPECT_THAT(ToString(ParseSafetensors({}, "f").status()), HasSubstr("0 bytes, expected"));
  const std::string image = "1234567";
  EXPECT_THAT(ToString(ParseSafetensors(Bytes(image), "f").status()),
              HasSubstr("7 bytes, expected"));
}

TEST(Safetensors, RefusesAHeaderLongerThanTheFile) {
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::string image(8, '\0');
    std::memcpy(image.data(), &length, sizeof(length));
    image += "{}";
    EXPECT_THAT(ToString(ParseSafetensors(Bytes(image), "f").status()),
                HasSubstr(fmt::format("header of {} bytes", length)));
  }
}

// Whatever single byte is changed or cut, parsing answers and every view stays inside the file.
TEST(Safetensors, SurvivesRandomDamage) {
  const std::string good = test::SafetensorsImage(
      R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
          "b":{"dtype":"BF16","shape":[4],"data_offsets":[16,24]}})",
      24);
  constexpr uint32_t kSeed = 20240611;
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  std::mt19937 rng(kSeed);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string image = good;
    const int changes = 1 + static_cast<int>(rng() % 3);
    for (int c = 0; c < changes; ++c) image[rng() % image.size()] = static_cast<char>(rng());
    if (rng() % 4 == 0) image.resize(rng() % image.size());
    const auto tensors = ParseSafetensors(Bytes(image), "f");
    if (!tensors.ok()) {
      ++refused;
      continue;
    }
    for (const NamedTensor& tensor : *tensors) {
      const auto all = Bytes(image);
      ASSERT_GE(tensor.view.bytes.data(), all.data());
      ASSERT_LE(tensor.view.bytes.data() + tensor.view.bytes.size(), all.data() + all.size());
    }
  }
  EXPECT_GT(refused, 5000);
}

TEST(SafetensorsFile, NamesAnAbsentFile) {
  const auto file = SafetensorsFile::Open("/nonexistent/model.safetensors");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ToString(file.status()), HasSubstr("/nonexistent/model.safetensors"));
}

}  // namespace
}  // namespace baton
