// The skip rule of the GPU tests.
#pragma once

#include <string>

#include "gtest/gtest.h"
#include "tests/gpu/support/memory.h"

namespace baton::kernels::cuda {

// Why tests cannot run here: no GPU, or one the kernels are not built for. Empty if they can.
std::string NoDeviceReason();

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
