#include "common/model/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "tests/common/model/safetensors_builder.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

TEST(MappedFile, GivesTheBytesAndMoves) {
  const test::TemporaryFolder folder;
  test::WriteFile(folder.path() / "f", "hello");
  auto file = MappedFile::Open(folder.path() / "f");
  ASSERT_TRUE(file.ok());
  MappedFile moved = *std::move(file);
  ASSERT_EQ(moved.bytes().size(), 5u);
  EXPECT_EQ(moved.bytes()[1], std::byte{'e'});
}

TEST(MappedFile, EmptyFile) {
  const test::TemporaryFolder folder;
  test::WriteFile(folder.path() / "f", "");
  const auto file = MappedFile::Open(folder.path() / "f");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_EQ(*ReadTextFile(folder.path() / "f", 10), "");
}

TEST(MappedFile, NamesWhatIsWrong) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(MappedFile::Open(folder.path() / "absent").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(ToString(MappedFile::Open(folder.path()).status()), HasSubstr("not a regular file"));
}

TEST(ReadTextFile, BoundsTheSize) {
  const test::TemporaryFolder folder;
  test::WriteFile(folder.path() / "f", "hello");
  EXPECT_EQ(*ReadTextFile(folder.path() / "f", 5), "hello");
  EXPECT_THAT(ToString(ReadTextFile(folder.path() / "f", 4).status()),
              HasSubstr("5 bytes, expected at most 4"));
}

}  // namespace
}  // namespace baton
