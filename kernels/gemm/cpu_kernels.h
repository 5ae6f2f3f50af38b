// The vector kernels behind GemmCpu, one per family of schemes. Each writes the rows `rows` and the
// output features of the panels `panels`.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/numeric/partition.h"

namespace baton::kernels::internal {

void GemmDense(const GemmParams& params, Range rows, Range panels);
void GemmW8A8(const GemmParams& params, Range rows, Range panels);
void GemmW4A16(const GemmParams& params, Range rows, Range panels);
void GemmW8A8Fp8(const GemmParams& params, Range rows, Range panels);
void GemmW4A8(const GemmParams& params, Range rows, Range panels);

}  // namespace baton::kernels::internal
