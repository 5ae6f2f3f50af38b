#pragma once

#include <cstdint>

namespace baton::kernels {

// SwiGLU: out = silu(gate) * up, silu(g) = g / (1 + exp(-g)). out may be gate or up.
struct SwiGluParams {
  const float* gate = nullptr;  // [rows, dim]
  const float* up = nullptr;    // [rows, dim]
  int64_t gate_stride = 0;      // floats from row to row
  int64_t up_stride = 0;
  float* out = nullptr;  // [rows, dim]
  int64_t out_stride = 0;
  int rows = 0;
  int dim = 0;
};
void SwiGluReference(const SwiGluParams& params);
// Splits rows, or columns if there are fewer rows than parts; element-wise, so the split never
// shows.
void SwiGluCpu(const SwiGluParams& params, int part, int parts);

}  // namespace baton::kernels
