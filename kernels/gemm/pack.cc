#include "kernels/gemm/pack.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"
#include "kernels/numeric/require.h"

namespace baton::kernels {
namespace {

constexpr int64_t kMaxIntegerK = 65536;  // 255 · 127 · K stays below 2^31
constexpr int64_t kKUnit = 32;           // code matrices are padded to this along K
constexpr int kSymmetricZero = 8;        // the zero point of signed INT4 in unsigned codes

constexpr int64_t RoundUp(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

bool IsInt4(CodeType type) { return type == CodeType::kInt4 || type == CodeType::kUint4; }
bool IsDense(WeightScheme scheme) { return scheme <= WeightScheme::kBf16; }
bool IsInt4(WeightScheme scheme) {
  return scheme == WeightScheme::kW4A16 || scheme == WeightScheme::kW4A8;
}

int64_t Groups(const WeightView& v) { return (v.k + v.group - 1) / v.group; }

float Scalar(const void* data, ScalarType type, int64_t i) {
  switch (type) {
    case ScalarType::kFp32:
      return static_cast<const float*>(data)[i];
    case ScalarType::kFp16:
      return FloatFromFp16(static_cast<const uint16_t*>(data)[i]);
    case ScalarType::kBf16:
      return FloatFromBf16(static_cast<const uint16_t*>(data)[i]);
  }
  return 0.0f;
}

float Value(const WeightView& v, int64_t row, int64_t k) {
  if (v.codes_type == CodeType::kDense) return Scalar(v.dense, v.dense_type, row * v.k + k);
  const int64_t at = row * Groups(v) + k / v.group;
  if (v.codes_type == CodeType::kE4m3) {
    return Scalar(v.scales, v.scale_type, at) *
           FloatFromE4m3(static_cast<uint8_t>(v.codes[row * v.k + k]));
  }
  int32_t code = v.codes[row * v.k + k];
  if (v.codes_type == CodeType::kUint4) code = static_cast<uint8_t>(code);
  return Scalar(v.scales, v.scale_type, at) *
         static_cast<float>(code - (v.zeros != nullptr ? v.zeros[at] : 0));
}

// The zero point in unsigned codes 0 … 15.
int32_t UnsignedZero(const WeightView& v, int64_t at) {
  const int32_t zero = v.zeros != nullptr ? v.zeros[at] : 0;
  return zero + (v.codes_type == CodeType::kInt4 ? kSymmetricZero : 0);
}

bool AllSymmetric(std::span<const WeightView> parts) {
  for (const WeightView& v : parts) {
    for (int64_t at = 0; at < v.n * Groups(v); ++at) {
      if (UnsignedZero(v, at) != kSymmetricZero) return false;
    }
  }
  return true;
}

std::string ViewProblem(const WeightView& v) {
  if (v.n <= 0 || v.k <= 0) return "matrix has no elements";
  if (v.codes_type == CodeType::kDense) return v.dense == nullptr ? "dense data missing" : "";
  if (v.codes == nullptr || v.scales == nullptr) return "codes or scales missing";
  if (v.group <= 0) return "group is " + std::to_string(v.group) + ", expected a positive size";
  return "";
}

std::string Int8Problem(const WeightView& v) {
  if (v.codes_type != CodeType::kInt8) return "W8A8 expects INT8 codes";
  if (v.group < v.k) return "W8A8 expects one scale per row, group is " + std::to_string(v.group);
  if (v.zeros != nullptr) return "W8A8 expects no zero points";
  if (v.k > kMaxIntegerK) return "K is " + std::to_string(v.k) + ", expected at most 65536";
  return "";
}

std::string Fp8Problem(const WeightView& v) {
  if (v.codes_type != CodeType::kE4m3) return "W8A8-FP8 expects e4m3 codes";
  if (v.group < v.k) {
    return "W8A8-FP8 expects one scale per row, group is " + std::to_string(v.group);
  }
  if (v.zeros != nullptr) return "W8A8-FP8 expects no zero points";
  for (int64_t i = 0; i < v.n * v.k; ++i) {
    if ((v.codes[i] & 0x7F) == kE4m3Nan) return "e4m3 code is NaN, expected numbers";
  }
  return "";
}

std::string Int4Problem(const WeightView& v, WeightScheme scheme) {
  if (!IsInt4(v.codes_type)) return "W4A16 and W4A8 expect INT4 codes";
  if (v.group < v.k && v.group % kKUnit != 0) {
    return "group is " + std::to_string(v.group) + ", expected a multiple of 32";
  }
  if (scheme == WeightScheme::kW4A8 && v.k > kMaxIntegerK) {
    return "K is " + std::to_string(v.k) + ", expected at most 65536";
  }
  const int32_t low = v.codes_type == CodeType::kInt4 ? -8 : 0;
  int8_t smallest = v.codes[0];
  int8_t largest = v.codes[0];
  for (int64_t i = 0; i < v.n * v.k; ++i) {
    smallest = std::min(smallest, v.codes[i]);
    largest = std::max(largest, v.codes[i]);
  }
  if (smallest < low || largest > low + 15) {
    return "INT4 code " + std::to_string(smallest < low ? smallest : largest) + " is out of range";
  }
  for (int64_t at = 0; v.zeros != nullptr && at < v.n * Groups(v); ++at) {
    const int64_t zero = static_cast<int64_t>(v.zeros[at]) - low;
    if (zero < 0 || zero > 255) {
      return "zero point " + std::to_string(v.zeros[at]) + " is out of range";
    }
  }
  return "";
}

bool Agree(const WeightView& a, const WeightView& b) {
  const bool dense = a.codes_type == CodeType::kDense;
  return a.k == b.k && a.codes_type == b.codes_type &&
         (dense ? a.dense_type == b.dense_type
                : a.scale_type == b.scale_type && a.group == b.group);
}

}  // namespace

const char* Name(WeightScheme scheme) {
  switch (scheme) {
    case WeightScheme::kFp32:
      return "fp32";
    case WeightScheme::kFp16:
      return "fp16";
    case WeightScheme::kBf16:
      return "bf16";
    case WeightScheme::kW8A8:
      return "w8a8";
    case WeightScheme::kW4A16:
      return "w4a16";
    case WeightScheme::kW4A8:
      return "w4a8";
    case WeightScheme::kW8A8Fp8:
      return "w8a8-fp8";
  }
  return "unknown";
}

bool TakesQuantizedActivations(WeightScheme scheme) {
  return scheme == WeightScheme::kW8A8 || scheme == WeightScheme::kW4A8 ||
         scheme == WeightScheme::kW8A8Fp8;
}

ActivationCode ActivationCodeOf(WeightScheme scheme) {
  BATON_KERNELS_REQUIRE(TakesQuantizedActivations(scheme));
  return scheme == WeightScheme::kW8A8Fp8 ? ActivationCode::kE4m3 : ActivationCode::kInt8;
}

std::string PackProblem(std::span<const WeightView> parts, WeightScheme scheme) {
  if (parts.empty()) return "no matrix";
  for (const WeightView& v : parts) {
    std::string problem = ViewProblem(v);
    if (problem.empty() && !Agree(parts.front(), v)) problem = "stacked matrices differ in form";
    if (problem.empty() && scheme == WeightScheme::kW8A8) problem = Int8Problem(v);
    if (problem.empty() && scheme == WeightScheme::kW8A8Fp8) problem = Fp8Problem(v);
    if (problem.empty() && IsInt4(scheme)) problem = Int4Problem(v, scheme);
    if (!problem.empty()) return problem;
  }
  return "";
}

// Fills a PackedWeight; the orders are described in README.md.
class Packer {
 public:
  Packer(std::span<const WeightView> parts, WeightScheme scheme) : parts_(parts) {
    w_.scheme_ = scheme;
    w_.k_ = parts.front().k;
    for (const WeightView& v : parts) w_.n_ += v.n;
    Layout();
  }

  PackedWeight Run(const PackRun& run) && {
    run([this](int part, int parts) {
      const Range panels = Partition(w_.panels(), part, parts);
      PackRows({panels.begin * kPanel, std::min(panels.end * kPanel, w_.n_)});
    });
    return std::move(w_);
  }

 private:
  static constexpr int64_t kPanel = PackedWeight::kPanel;

  void Layout() {
    const WeightView& v = parts_.front();
    const int64_t padded = RoundUp(w_.k_, kKUnit);
    size_t lane_bytes = 0;  // of one row in its panel
    switch (w_.scheme_) {
      case WeightScheme::kFp32:
        lane_bytes = static_cast<size_t>(w_.k_) * 4;
        break;
      case WeightScheme::kFp16:
      case WeightScheme::kBf16:
        lane_bytes = static_cast<size_t>(RoundUp(w_.k_, 2)) * 2;
        break;
      case WeightScheme::kW8A8:
        lane_bytes = static_cast<size_t>(padded);
        break;
      case WeightScheme::kW8A8Fp8:
        lane_bytes = static_cast<size_t>(w_.k_);
        break;
      case WeightScheme::kW4A16:
      case WeightScheme::kW4A8:
        lane_bytes = static_cast<size_t>(padded / 2);
        break;
    }
    w_.panel_bytes_ = lane_bytes * kPanel;
    size_t bytes = w_.panel_bytes_ * static_cast<size_t>(w_.panels());
    if (!IsDense(w_.scheme_)) {
      w_.group_ = std::min(v.group, v.k);
      w_.groups_ = Groups(v);
      w_.scale_type_ = v.scale_type;
      const size_t entries = static_cast<size_t>(w_.panels() * w_.groups_ * kPanel);
      w_.scales_offset_ = bytes;
      bytes += entries * BytesOf(v.scale_type);
      if (IsInt4(w_.scheme_) && !AllSymmetric(parts_)) {
        w_.zeros_offset_ = bytes;
        bytes += entries;
      }
    }
    w_.buffer_ = AlignedBuffer<uint8_t>(bytes);
  }

  void PackRows(Range rows) {
    int64_t first = 0;  // row of the whole matrix
    for (const WeightView& v : parts_) {
      const int64_t begin = std::max(rows.begin, first);
      const int64_t end = std::min(rows.end, first + v.n);
      for (int64_t row = begin; row < end; ++row) PackRow(v, row - first, row);
      first += v.n;
    }
  }

  void PackRow(const WeightView& v, int64_t i, int64_t row) {
    uint8_t* panel = w_.buffer_.data() + static_cast<size_t>(row / kPanel) * w_.panel_bytes_;
    const int64_t lane = row % kPanel;
    if (IsDense(w_.scheme_)) {
      PackDense(v, i, panel, lane);
      return;
    }
    if (w_.scheme_ == WeightScheme::kW8A8) {
      PackInt8(v, i, panel, lane);
    } else if (w_.scheme_ == WeightScheme::kW8A8Fp8) {
      for (int64_t k = 0; k < v.k; ++k) {
        panel[k * kPanel + lane] = static_cast<uint8_t>(v.codes[i * v.k + k]);
      }
    } else {
      PackInt4(v, i, panel, lane);
    }
    PackGroups(v, i, row);
  }

  void PackDense(const WeightView& v, int64_t i, uint8_t* panel, int64_t lane) {
    for (int64_t k = 0; k < v.k; ++k) {
      const float value = Value(v, i, k);
      const int64_t at = k * kPanel + lane;
      if (w_.scheme_ == WeightScheme::kFp32) {
        std::memcpy(panel + at * 4, &value, 4);
        continue;
      }
      // The same type is copied, so that infinities and NaN payloads of a file survive.
      const bool fp16 = w_.scheme_ == WeightScheme::kFp16;
      const ScalarType want = fp16 ? ScalarType::kFp16 : ScalarType::kBf16;
      uint16_t bits = fp16 ? Fp16FromFloat(value) : Bf16FromFloat(value);
      if (v.codes_type == CodeType::kDense && v.dense_type == want) {
        bits = static_cast<const uint16_t*>(v.dense)[i * v.k + k];
      }
      std::memcpy(panel + at * 2, &bits, 2);
    }
  }

  void PackInt8(const WeightView& v, int64_t i, uint8_t* panel, int64_t lane) {
    const int8_t* codes = v.codes + i * v.k;
    int64_t k = 0;
    for (; k + 4 <= v.k; k += 4) {
      uint32_t four;
      std::memcpy(&four, codes + k, sizeof(four));
      four ^= 0x80808080;
      std::memcpy(panel + (k / 4 * kPanel + lane) * 4, &four, sizeof(four));
    }
    for (; k < v.k; ++k) {
      panel[(k / 4 * kPanel + lane) * 4 + k % 4] = static_cast<uint8_t>(codes[k] + 128);
    }
  }

  void PackInt4(const WeightView& v, int64_t i, uint8_t* panel, int64_t lane) {
    const int offset = v.codes_type == CodeType::kInt4 ? kSymmetricZero : 0;
    const int8_t* codes = v.codes + i * v.k;
    int64_t k = 0;
    for (; k + 8 <= v.k; k += 8) {
      // The low four bits of a signed code plus 8 are those of the code with one bit turned.
      uint64_t eight;
      std::memcpy(&eight, codes + k, sizeof(eight));
      if (offset != 0) eight = (eight ^ 0x0808080808080808) & 0x0F0F0F0F0F0F0F0F;
      const auto word = static_cast<uint32_t>(eight | eight >> 28);
      std::memcpy(panel + (k / 8 * kPanel + lane) * 4, &word, sizeof(word));
    }
    for (; k < v.k; ++k) {
      const unsigned code = static_cast<unsigned>(codes[k] + offset);
      uint8_t& byte = panel[(k / 8 * kPanel + lane) * 4 + k % 4];
      byte = static_cast<uint8_t>(byte | (code << (k % 8 >= 4 ? 4 : 0)));
    }
  }

  void PackGroups(const WeightView& v, int64_t i, int64_t row) {
    const size_t size = BytesOf(v.scale_type);
    for (int64_t j = 0; j < w_.groups_; ++j) {
      const int64_t from = i * w_.groups_ + j;
      const int64_t to = (row / kPanel * w_.groups_ + j) * kPanel + row % kPanel;
      std::memcpy(w_.buffer_.data() + w_.scales_offset_ + static_cast<size_t>(to) * size,
                  static_cast<const uint8_t*>(v.scales) + static_cast<size_t>(from) * size, size);
      if (w_.zeros_offset_ != 0) {
        w_.buffer_[w_.zeros_offset_ + static_cast<size_t>(to)] =
            static_cast<uint8_t>(UnsignedZero(v, from));
      }
    }
  }

  std::span<const WeightView> parts_;
  PackedWeight w_;
};

PackedWeight PackInParts(std::span<const WeightView> parts, WeightScheme scheme,
                         const PackRun& run) {
  BATON_KERNELS_REQUIRE(PackProblem(parts, scheme).empty());
  return Packer(parts, scheme).Run(run);
}

PackedWeight Pack(std::span<const WeightView> parts, WeightScheme scheme) {
  return PackInParts(parts, scheme, [](const auto& work) { work(0, 1); });
}

const uint8_t* PackedWeight::scales(int64_t p) const {
  return buffer_.data() + scales_offset_ +
         static_cast<size_t>(p * groups_ * kPanel) * BytesOf(scale_type_);
}

const uint8_t* PackedWeight::zeros(int64_t p) const {
  return has_zeros() ? buffer_.data() + zeros_offset_ + p * groups_ * kPanel : nullptr;
}

}  // namespace baton::kernels
