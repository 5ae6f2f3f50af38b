// Types that the CUDA launch functions of all operations share; plain C++.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::kernels::cuda {

// The type of activations in device memory. Statistics and accumulators are fp32.
enum class ActivationType : uint8_t { kFp16, kBf16 };

constexpr size_t BytesOf(ActivationType) { return 2; }
constexpr const char* Name(ActivationType type) {
  return type == ActivationType::kFp16 ? "fp16" : "bf16";
}

}  // namespace baton::kernels::cuda
