// The benchmarks of this program, one function an operation.
#pragma once

#include "tests/bench/kernels_gpu/bench.h"

namespace baton::bench {

// Name for --only, and what measures and reports. In the order of a decoder layer.
struct NamedBench {
  const char* name;
  void (*run)(GpuBench& bench);
};

void BenchGraphNode(GpuBench& bench);
void BenchElementwise(GpuBench& bench);
void BenchRope(GpuBench& bench);
void BenchAttentionDecode(GpuBench& bench);
void BenchKvPack(GpuBench& bench);
void BenchGemmF16(GpuBench& bench);
void BenchGemmFp8(GpuBench& bench);
void BenchGemmW4A16(GpuBench& bench);
void BenchGemmFp8Small(GpuBench& bench);
void BenchAttentionPrefill(GpuBench& bench);

inline constexpr NamedBench kBenches[] = {
    {"graph_node", BenchGraphNode},
    {"elementwise", BenchElementwise},
    {"rope", BenchRope},
    {"attention_decode", BenchAttentionDecode},
    {"kv_pack", BenchKvPack},
    {"gemm_f16", BenchGemmF16},
    {"gemm_fp8", BenchGemmFp8},
    {"gemm_w4a16", BenchGemmW4A16},
    {"gemm_fp8_small", BenchGemmFp8Small},
    {"attention_prefill", BenchAttentionPrefill},
};

}  // namespace baton::bench
