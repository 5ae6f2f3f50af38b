#include "tests/gpu/support/device.h"

#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {
namespace {

bool reduced_grid = false;  // set by main before any test runs

}  // namespace

bool ReducedGrid() { return reduced_grid; }
void SetReducedGrid() { reduced_grid = true; }

std::string NoDeviceReason() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return error != cudaSuccess ? cudaGetErrorString(error) : "no CUDA device";
  }
  DeviceTraits traits;
  if (const cudaError_t error = QueryDevice(0, &traits); error != cudaSuccess) {
    return cudaGetErrorString(error);
  }
  return DeviceProblem(traits);
}

void GpuTest::SetUp() {
  if (const std::string reason = NoDeviceReason(); !reason.empty()) {
    GTEST_SKIP() << "needs an sm_90 GPU: " << reason;
  }
}

void GpuTest::TearDown() {
  if (IsSkipped()) return;
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const cudaError_t error = cudaGetLastError();
  EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
}

}  // namespace baton::kernels::cuda
