// The device the kernels run on: what heuristics are keyed on, and the refusal of others.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace baton::kernels::cuda {

struct DeviceTraits {
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  int sm_count = 0;
  size_t l2_bytes = 0;
  size_t shared_bytes_per_block = 0;  // what a kernel may opt in to
};

// Why the kernels cannot run on a device; empty if they can. The binaries hold sm_90a code only.
inline std::string DeviceProblem(const DeviceTraits& device) {
  if (device.compute_major == 9 && device.compute_minor == 0) return {};
  return "device '" + device.name + "': compute capability " +
         std::to_string(device.compute_major) + "." + std::to_string(device.compute_minor) +
         ", expected 9.0 (sm_90a)";
}

inline cudaError_t QueryDevice(int ordinal, DeviceTraits* traits) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, ordinal);
      error != cudaSuccess) {
    return error;
  }
  *traits = {.name = properties.name,
             .compute_major = properties.major,
             .compute_minor = properties.minor,
             .sm_count = properties.multiProcessorCount,
             .l2_bytes = static_cast<size_t>(properties.l2CacheSize),
             .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
  return cudaSuccess;
}

}  // namespace baton::kernels::cuda
