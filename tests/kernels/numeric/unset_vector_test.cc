#include "kernels/numeric/unset_vector.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <utility>

namespace baton::kernels {
namespace {

TEST(UnsetVector, HoldsWhatIsWritten) {
  UnsetVector<int32_t> numbers = {1, 2, 3};
  numbers.push_back(4);
  numbers.resize(1000);  // the old elements move along
  EXPECT_EQ(numbers[0], 1);
  EXPECT_EQ(numbers[3], 4);
  numbers.assign(5, 7);
  const UnsetVector<int32_t> copy = numbers;
  EXPECT_EQ(copy, (UnsetVector<int32_t>{7, 7, 7, 7, 7}));
  EXPECT_EQ(std::move(numbers), copy);
}

TEST(UnsetVector, LargeOnesStartOnAHugePage) {
  UnsetVector<uint8_t> bytes;
  bytes.resize(3 * kHugePageBytes + 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % kHugePageBytes, 0u);
  bytes.back() = 9;
  // A small one takes its place, and each is freed with the alignment that it was made with.
  bytes.resize(1);
  bytes.shrink_to_fit();
  EXPECT_EQ(bytes.size(), 1u);
}

TEST(UnsetVector, RefusesWhatCannotBeHad) {
  UnsetAllocator<int64_t> allocator;
  EXPECT_THROW((void)allocator.allocate(std::numeric_limits<size_t>::max() / 2), std::bad_alloc);
}

}  // namespace
}  // namespace baton::kernels
