#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/model/digest.h"
#include "common/model/safetensors.h"
#include "kernels/gemm/packed_weight.h"

namespace baton {

// What a worker is asked to compute its linear layers with (`--*-weights`).
enum class WeightFormat {
  kFp32,     // reference
  kFp16,     // dense, rounded to fp16 where the checkpoint has another type
  kW8A8,     // INT8 per channel, INT8 per token
  kW4A16,    // INT4 in groups, fp32 activations
  kW4A8,     // INT4 in groups, INT8 per token
  kW8A8Fp8,  // FP8 (e4m3fn) per channel, FP8 per token
  kAuto,     // as the checkpoint is
};

std::string_view NameOf(WeightFormat format);  // as in the flag: "w4a16"

// INVALID_ARGUMENT names the value and the formats there are.
absl::StatusOr<WeightFormat> ParseWeightFormat(std::string_view name);

// How one matrix of the checkpoint is packed.
struct MatrixPlan {
  kernels::WeightScheme scheme = kernels::WeightScheme::kFp32;
  kernels::CodeType codes = kernels::CodeType::kDense;  // what to quantize to before packing
  int group = 0;                                        // along K; 0 = one scale per row
};

// `stored`: the type of the matrix in the checkpoint. A linear layer follows the format.
MatrixPlan PlanLinear(WeightFormat format, DataType stored);
// Embedding and output head keep a 16-bit checkpoint's values exactly; the fp32 reference keeps
// fp32; otherwise fp16.
MatrixPlan PlanEmbedding(WeightFormat format, DataType stored);

// The largest of `wanted`, 128, 64, 32 that divides `k` and is at most `wanted`; `k` (one group per
// row) when none does.
int GroupFor(int64_t k, int wanted);

// Identity of the numbers that a worker computes with: checkpoint and weight format.
Digest WeightsDigest(const Digest& checkpoint, WeightFormat format);

}  // namespace baton
