#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/quant/formats/weight_source.h"
#include "kernels/gemm/packed_weight.h"

namespace baton {

// The matrices of one product (query, key and value; gate and up; or one alone) in a form that
// kernels::Pack takes. Owns what `views` borrow, but for the bytes of unquantized tensors, which
// stay the checkpoint's; move-only for that reason.
struct StackForm {
  StackForm() = default;
  StackForm(StackForm&&) = default;
  StackForm& operator=(StackForm&&) = default;

  kernels::WeightScheme scheme = kernels::WeightScheme::kFp16;
  std::vector<kernels::WeightView> views;  // one per part
  // Act-order: column i of the packed matrix multiplies value gather[i] of the input. [k], or empty
  // where the columns are in order.
  std::vector<int32_t> gather;
  // How this differs from what the checkpoint says, in words; empty where it does not.
  std::string note;

  std::vector<QuantizedTensor> tensors;
  std::vector<ExpandedWeight> expanded;
  std::vector<kernels::RowSource> sources;  // rows in fp32 of what is dequantized as it is packed
};

// The form that serves quantized parts as they are stored: INT8 per row with INT8 inputs as kW8A8;
// integers of up to 4 bits in groups of a multiple of 32 columns as kW4A16, or kW4A8 with INT8
// inputs (2 and 3 bits are held as 4), each with the file's scales and zero points. Whatever else,
// and parts that cannot be stacked, is given as kFp16 in rows dequantized exactly to fp32, one at a
// time as Pack asks for them, which rounds once; `note` says so. `gather_allowed`: the caller can
// permute the inputs.
StackForm NativeForm(std::vector<LoadedWeight> parts, bool gather_allowed, const RunParts& run);

// [n · k] in fp32.
std::vector<float> Dequantize(const QuantizedTensor& tensor, const RunParts& run);
// The same of either form; moves the values out of an expanded one.
std::vector<float> Dequantize(QuantizedWeight&& weight, const RunParts& run);

}  // namespace baton
