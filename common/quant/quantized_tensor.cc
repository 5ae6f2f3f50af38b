#include "common/quant/quantized_tensor.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <span>

#include "common/base/status.h"
#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::ScalarType;

constexpr std::array<float, 256> E4m3Values() {
  std::array<float, 256> values = {};
  for (int byte = 0; byte < 256; ++byte) {
    values[static_cast<size_t>(byte)] = kernels::FloatFromE4m3(static_cast<uint8_t>(byte));
  }
  return values;
}
constexpr std::array<float, 256> kE4m3Values = E4m3Values();

// The bits that (code & mask) + offset has for some code of the tensor. One loop without a way
// out, which a compiler turns into vectors.
uint8_t AnyBits(const QuantizedTensor& tensor, uint8_t mask, uint8_t offset, const RunParts& run) {
  std::atomic<uint8_t> all = 0;
  run([&](int part, int parts) {
    const kernels::Range share =
        kernels::Partition(static_cast<int64_t>(tensor.codes.size()), part, parts);
    const uint8_t* codes = tensor.codes.data();
    uint8_t any = 0;
    for (int64_t i = share.begin; i < share.end; ++i) {
      any |= static_cast<uint8_t>((codes[i] & mask) + offset);
    }
    all |= any;
  });
  return all;
}

// Turns the codes of a row, in fp32, into its values. Scales and zero points of a row are looked
// up once each: a group has many columns.
void DequantizeInAnyOrder(const QuantizedTensor& tensor, int64_t row_block, float* row) {
  std::vector<float> scales(static_cast<size_t>(tensor.groups()));
  std::vector<float> zeros(scales.size());
  for (int64_t group = 0; group < tensor.groups(); ++group) {
    scales[static_cast<size_t>(group)] = tensor.Scale(row_block, group);
    zeros[static_cast<size_t>(group)] = tensor.Zero(row_block, group);
  }
  for (int64_t k = 0; k < tensor.k; ++k) {
    const auto group = static_cast<size_t>(tensor.column_group[static_cast<size_t>(k)]);
    row[k] = scales[group] * (row[k] - zeros[group]);
  }
}

}  // namespace

float QuantizedTensor::Scale(int64_t row_block, int64_t group) const {
  const size_t size = kernels::BytesOf(scale_type);
  const std::byte* at = scales.data() + static_cast<size_t>(row_block * groups() + group) * size;
  if (scale_type == ScalarType::kFp32) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  uint16_t half;
  std::memcpy(&half, at, sizeof(half));
  return scale_type == ScalarType::kFp16 ? kernels::FloatFromFp16(half)
                                         : kernels::FloatFromBf16(half);
}

float QuantizedTensor::Zero(int64_t row_block, int64_t group) const {
  const auto at = static_cast<size_t>(row_block * groups() + group);
  if (!float_zeros.empty()) return float_zeros[at];
  return zeros.empty() ? 0.0f : static_cast<float>(zeros[at]);
}

bool CodesInRange(const QuantizedTensor& tensor, const RunParts& run) {
  if (tensor.code == TensorCode::kE4m3 || tensor.bits == 8) return true;
  const int half = 1 << (tensor.bits - 1);
  const int offset = tensor.code == TensorCode::kSigned ? half : 0;
  return AnyBits(tensor, 0xFF, static_cast<uint8_t>(offset), run) < 2 * half;
}

bool CodesAreNumbers(const QuantizedTensor& tensor, const RunParts& run) {
  if (tensor.code != TensorCode::kE4m3) return true;
  return (AnyBits(tensor, 0x7F, 0x80 - kernels::kE4m3Nan, run) & 0x80) == 0;
}

absl::Status CheckQuantizedTensor(const QuantizedTensor& t, std::string_view name,
                                  const RunParts& run) {
  if (t.n <= 0 || t.k <= 0 || t.block_rows <= 0 || t.block_columns <= 0 || t.bits < 2 ||
      t.bits > 8) {
    return Internal("'{}': [{}, {}] in blocks of {} x {}, {} bits: expected positive sizes", name,
                    t.n, t.k, t.block_rows, t.block_columns, t.bits);
  }
  const auto scales = static_cast<size_t>(t.row_blocks() * t.groups());
  const bool sizes = t.codes.size() == static_cast<size_t>(t.n * t.k) &&
                     t.scales.size() == scales * kernels::BytesOf(t.scale_type) &&
                     (t.zeros.empty() || t.zeros.size() == scales) &&
                     (t.float_zeros.empty() || t.float_zeros.size() == scales) &&
                     (t.zeros.empty() || t.float_zeros.empty()) &&
                     (t.column_group.empty() || t.column_group.size() == static_cast<size_t>(t.k));
  if (!sizes) return Internal("'{}': codes, scales and zeros do not fit its shape", name);
  for (const int32_t group : t.column_group) {
    if (group < 0 || group >= t.groups()) {
      return Internal("'{}': column group {}, expected 0 to {}", name, group, t.groups() - 1);
    }
  }
  if (!CodesInRange(t, run)) return Internal("'{}': a code is wider than {} bits", name, t.bits);
  return absl::OkStatus();
}

void DequantizeRow(const QuantizedTensor& tensor, int64_t row, float* out) {
  const int64_t row_block = row / tensor.block_rows;
  const uint8_t* codes = tensor.codes.data() + row * tensor.k;
  switch (tensor.code) {
    case TensorCode::kSigned:
      for (int64_t k = 0; k < tensor.k; ++k) out[k] = static_cast<int8_t>(codes[k]);
      break;
    case TensorCode::kUnsigned:
      for (int64_t k = 0; k < tensor.k; ++k) out[k] = codes[k];
      break;
    case TensorCode::kE4m3:
      for (int64_t k = 0; k < tensor.k; ++k) out[k] = kE4m3Values[codes[k]];
      break;
  }
  if (!tensor.column_group.empty()) {
    DequantizeInAnyOrder(tensor, row_block, out);
    return;
  }
  for (int64_t group = 0; group < tensor.groups(); ++group) {
    const float scale = tensor.Scale(row_block, group);
    const float zero = tensor.Zero(row_block, group);
    const int64_t end = std::min(tensor.k, (group + 1) * tensor.block_columns);
    for (int64_t k = group * tensor.block_columns; k < end; ++k) out[k] = scale * (out[k] - zero);
  }
}

QuantizedTensor ToTensor(QuantizedMatrix matrix) {
  QuantizedTensor tensor{.n = matrix.n, .k = matrix.k};
  const bool fp8 = matrix.codes_type == CodeType::kE4m3;
  tensor.bits = fp8 || matrix.codes_type == CodeType::kInt8 ? 8 : 4;
  tensor.code = fp8                                     ? TensorCode::kE4m3
                : matrix.codes_type == CodeType::kUint4 ? TensorCode::kUnsigned
                                                        : TensorCode::kSigned;
  tensor.block_columns = matrix.group;
  tensor.codes.assign(matrix.codes.begin(), matrix.codes.end());
  const auto bytes = std::as_bytes(std::span(matrix.scales));
  tensor.scales.assign(bytes.begin(), bytes.end());
  tensor.zeros = std::move(matrix.zeros);
  return tensor;
}

}  // namespace baton
