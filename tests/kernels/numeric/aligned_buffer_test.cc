#include "kernels/numeric/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace baton::kernels {
namespace {

TEST(AlignedBuffer, IsAlignedAndZeroFilled) {
  for (size_t size : {1u, 63u, 64u, 1000u}) {
    AlignedBuffer<float> buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kCacheLineBytes, 0u);
    EXPECT_EQ(buffer.size(), size);
    for (float x : buffer) EXPECT_EQ(x, 0.0f);
  }
}

TEST(AlignedBuffer, LargeOnesStartOnAHugePage) {
  AlignedBuffer<char> buffer(3 * kHugePageBytes + 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kHugePageBytes, 0u);
  for (const char c : buffer) ASSERT_EQ(c, 0);
  // A small one takes its place, and each is freed with the alignment that it was made with.
  buffer = AlignedBuffer<char>(1);
  EXPECT_EQ(buffer.size(), 1u);
}

TEST(AlignedBuffer, MoveEmptiesTheSource) {
  AlignedBuffer<int> a(7);
  a[3] = 42;
  const int* where = a.data();
  AlignedBuffer<int> b = std::move(a);
  EXPECT_EQ(b.data(), where);
  EXPECT_EQ(b[3], 42);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): the contract under test
  EXPECT_EQ(a.data(), nullptr);
}

TEST(AlignedBuffer, UnsetHasZerosOnlyAfterItsLastElement) {
  for (size_t size : {1u, 63u, 64u, 1000u}) {
    auto buffer = AlignedBuffer<char>::Unset(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kCacheLineBytes, 0u);
    EXPECT_EQ(buffer.size(), size);
    for (char& c : buffer) c = 1;
    for (size_t i = size; i % kCacheLineBytes != 0; ++i) EXPECT_EQ(buffer.data()[i], 0);
  }
}

TEST(AlignedBuffer, EmptyHasNoMemory) { EXPECT_EQ(AlignedBuffer<int>(0).data(), nullptr); }

TEST(AlignedBuffer, OverflowingSizeThrows) {
  EXPECT_THROW(AlignedBuffer<double>(static_cast<size_t>(-1) / 4), std::bad_alloc);
}

}  // namespace
}  // namespace baton::kernels
