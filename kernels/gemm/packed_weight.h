// Weight matrices: the view a loader hands over, and the owned form the kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "kernels/numeric/aligned_buffer.h"
#include "kernels/quantize/quantize.h"

namespace baton::kernels {

// What a product computes with.
//   kFp32, kFp16, kBf16  dense weights of that type × fp32 activations
//   kW8A8                INT8 per channel × INT8 per token, INT32 accumulation
//   kW4A16               INT4 groups × fp32 activations
//   kW4A8                INT4 groups × INT8 per token, INT32 accumulation within a group
//   kW8A8Fp8             e4m3fn per channel × e4m3fn per token, fp32 accumulation
enum class WeightScheme : uint8_t { kFp32, kFp16, kBf16, kW8A8, kW4A16, kW4A8, kW8A8Fp8 };
const char* Name(WeightScheme scheme);
// Whether GemmParams::quantized is read rather than GemmParams::a.
bool TakesQuantizedActivations(WeightScheme scheme);
// Of the schemes that take them.
ActivationCode ActivationCodeOf(WeightScheme scheme);

enum class ScalarType : uint8_t { kFp32, kFp16, kBf16 };
constexpr size_t BytesOf(ScalarType type) { return type == ScalarType::kFp32 ? 4 : 2; }

// kDense: the matrix itself, `dense`. kInt8: signed codes. kInt4: signed codes -8 … 7. kUint4: 0
// … 15. kE4m3: bytes of fp8 e4m3fn numbers, which stand for themselves.
enum class CodeType : uint8_t { kDense, kInt8, kInt4, kUint4, kE4m3 };

// Writes one row of a matrix in fp32, out[K]. Any thread may call it for any row.
using RowSource = std::function<void(int64_t row, float* out)>;

// A matrix W[N, K] owned by someone else (numbers.md, "Weights"), row-major without gaps. Dense
// numbers and scales may stand at any address.
//   dense:  W[n,k] = dense[n,k], or what `rows` gives: a matrix that is nowhere held in fp32
//   codes:  W[n,k] = scales[n,j] · (codes[n,k] - zeros[n,j]),  j = k / group
struct WeightView {
  int64_t n = 0;  // output features
  int64_t k = 0;  // input features
  CodeType codes_type = CodeType::kDense;
  const void* dense = nullptr;  // [N, K] of dense_type
  ScalarType dense_type = ScalarType::kFp32;
  const RowSource* rows = nullptr;  // instead of dense; dense_type is kFp32
  const int8_t* codes = nullptr;    // [N, K], one code per byte
  const void* scales = nullptr;     // [N, ceil(K / group)] of scale_type
  ScalarType scale_type = ScalarType::kFp32;
  const int32_t* zeros = nullptr;  // [N, ceil(K / group)], or null for zero points of 0
  int64_t group = 0;               // along K; K itself for one scale per row
};

// Why `parts` cannot be packed as `scheme`; empty if they can. Several parts are stacked along N
// (query, key and value as one matrix) and must agree in everything but N.
//   kFp32, kFp16, kBf16: any view. Codes are dequantized in fp32; fp32 is then rounded to the type.
//   kW8A8: kInt8, group = K ≤ 65536, no zero points.
//   kW8A8Fp8: kE4m3 without NaN, group = K, no zero points.
//   kW4A16, kW4A8: kInt4 (zero points -8 … 247) or kUint4 (0 … 255), group a multiple of 32 or ≥ K;
//   K ≤ 65536 for kW4A8. The last group may be short.
std::string PackProblem(std::span<const WeightView> parts, WeightScheme scheme);
inline std::string PackProblem(const WeightView& view, WeightScheme scheme) {
  return PackProblem({&view, 1}, scheme);
}

// A weight matrix in kernel layout (README.md), made once at load. Move-only, immutable after
// packing, so any number of threads may read it. Keeps nothing of the view.
class PackedWeight {
 public:
  PackedWeight() = default;

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  WeightScheme scheme() const { return scheme_; }
  int64_t group() const { return group_; }  // K for one scale per row; 0 for dense schemes
  int64_t groups() const { return groups_; }
  ScalarType scale_type() const { return scale_type_; }
  bool has_zeros() const { return zeros_offset_ != 0; }
  size_t bytes() const { return buffer_.size(); }

  // For the kernels: panels of kPanel rows; see README.md for the order inside.
  static constexpr int64_t kPanel = 16;
  int64_t panels() const { return (n_ + kPanel - 1) / kPanel; }
  size_t panel_bytes() const { return panel_bytes_; }  // of codes or dense values
  const uint8_t* panel(int64_t p) const { return buffer_.data() + p * panel_bytes_; }
  // [groups][kPanel] scales of one panel, of scale_type().
  const uint8_t* scales(int64_t p) const;
  // [groups][kPanel] zero points in unsigned-code terms of one panel; null without zero points.
  const uint8_t* zeros(int64_t p) const;

 private:
  friend class Packer;

  int64_t n_ = 0;
  int64_t k_ = 0;
  WeightScheme scheme_ = WeightScheme::kFp32;
  int64_t group_ = 0;
  int64_t groups_ = 0;
  ScalarType scale_type_ = ScalarType::kFp32;
  size_t panel_bytes_ = 0;
  size_t scales_offset_ = 0;
  size_t zeros_offset_ = 0;
  AlignedBuffer<uint8_t> buffer_;
};

// Packs; PackProblem(parts, scheme) must be empty.
PackedWeight Pack(std::span<const WeightView> parts, WeightScheme scheme);
inline PackedWeight Pack(const WeightView& view, WeightScheme scheme) {
  return Pack({&view, 1}, scheme);
}

// One row of the matrix in fp32, out[K]: embedding lookup in a tied matrix that is held once.
void DequantizeRow(const PackedWeight& weight, int64_t row, float* out);

}  // namespace baton::kernels
