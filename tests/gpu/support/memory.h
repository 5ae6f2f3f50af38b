// Device memory for tests and benchmarks, and activations as 16-bit codes on the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

// Ends the process with `what` and the error's text if a CUDA call did not succeed.
void OrAbort(cudaError_t error, const char* what);

// `bytes` of device memory, filled with 0xFF (NaN in every floating-point format). Move-only; ends
// the process when memory runs out.
class DeviceBytes {
 public:
  DeviceBytes() = default;
  explicit DeviceBytes(size_t bytes);
  DeviceBytes(DeviceBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBytes& operator=(DeviceBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBytes();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void Poison();  // 0xFF again
  void CopyFrom(const void* host);
  void CopyTo(void* host) const;  // after everything submitted so far

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// `size` elements of T in device memory.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(size_t size) : bytes_(size * sizeof(T)) {}
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) { Upload(host); }

  T* data() const { return static_cast<T*>(bytes_.data()); }
  size_t size() const { return bytes_.bytes() / sizeof(T); }
  void Poison() { bytes_.Poison(); }
  // Exactly size() elements.
  void Upload(const std::vector<T>& host) {
    OrAbort(host.size() == size() ? cudaSuccess : cudaErrorInvalidValue, "size of an upload");
    bytes_.CopyFrom(host.data());
  }
  std::vector<T> Download() const {
    std::vector<T> host(size());
    bytes_.CopyTo(host.data());
    return host;
  }

 private:
  DeviceBytes bytes_;
};

// Rounds to nearest even; overflow gives infinities, unlike the storage formats.
std::vector<uint16_t> ToActivations(ActivationType type, std::span<const float> x);
std::vector<float> FromActivations(ActivationType type, std::span<const uint16_t> codes);
// x after one rounding to the type: what a kernel sees.
std::vector<float> Rounded(ActivationType type, std::span<const float> x);
// The largest relative error of one rounding to the type.
double UnitRoundoff(ActivationType type);

std::vector<float> RandomNormal(size_t count, uint32_t seed, float sigma = 1.0f);

}  // namespace baton::kernels::cuda
