// The skip rule of the GPU tests.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/support/memory.h"

namespace baton::kernels::cuda {

// Why tests cannot run here: no GPU, or one the kernels are not built for. Empty if they can.
std::string NoDeviceReason();

// Whether the program was started with --reduced: a memory checker makes every access slow.
bool ReducedGrid();
void SetReducedGrid();

// The values of one axis of a test's grid: all of them, or in the reduced grid the first, the last
// and the one in the middle.
template <typename T>
std::vector<T> Axis(std::initializer_list<T> values) {
  std::vector<T> axis(values);
  if (!ReducedGrid() || axis.size() <= 3) return axis;
  return {axis.front(), axis[axis.size() / 2], axis.back()};
}

template <typename T, size_t kCount>
std::vector<T> Axis(const T (&values)[kCount]) {
  if (!ReducedGrid() || kCount <= 3) return {std::begin(values), std::end(values)};
  return {values[0], values[kCount / 2], values[kCount - 1]};
}

// Base of every test that launches.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override;
  // Fails the test if an earlier launch left an error; waits for the device.
  void TearDown() override;
};

// Fails the current function if a CUDA call does not succeed.
#define ASSERT_CUDA(expression)                                           \
  do {                                                                    \
    const cudaError_t cuda_error = (expression);                          \
    ASSERT_EQ(cuda_error, cudaSuccess) << cudaGetErrorString(cuda_error); \
  } while (false)

}  // namespace baton::kernels::cuda
