#include "kernels/gemm/pack.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/gemm/float_rows.h"
#include "kernels/gemm/interleave.h"
#include "kernels/gemm/pack_check.h"
#include "kernels/gemm/pack_units.h"
#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"
#include "kernels/numeric/require.h"
#include "kernels/numeric/unset_vector.h"

namespace baton::kernels {
namespace {

using internal::Groups;
using internal::IsDense;
using internal::IsInt4;
using internal::kKUnit;
using internal::UnsignedOffset;

constexpr int64_t RoundUp(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

float Scalar(const void* data, ScalarType type, int64_t i) {
  float value;
  const auto* bytes = static_cast<const uint8_t*>(data);
  ConvertFloats(bytes + i * static_cast<int64_t>(BytesOf(type)), type, 1, ScalarType::kFp32,
                &value);
  return value;
}

// A row of codes in fp32, out[K].
void DequantizeCodes(const WeightView& v, int64_t row, float* out) {
  const int8_t* codes = v.codes + row * v.k;
  for (int64_t j = 0; j < Groups(v); ++j) {
    const int64_t at = row * Groups(v) + j;
    const float scale = Scalar(v.scales, v.scale_type, at);
    const int32_t zero = v.zeros != nullptr ? v.zeros[at] : 0;
    const int64_t begin = j * v.group;
    const int64_t end = v.group < v.k - begin ? begin + v.group : v.k;
    if (v.codes_type == CodeType::kE4m3) {
      for (int64_t k = begin; k < end; ++k) {
        out[k] = scale * FloatFromE4m3(static_cast<uint8_t>(codes[k]));
      }
    } else if (v.codes_type == CodeType::kUint4) {
      for (int64_t k = begin; k < end; ++k) {
        out[k] = scale * static_cast<float>(static_cast<uint8_t>(codes[k]) - zero);
      }
    } else {
      for (int64_t k = begin; k < end; ++k) out[k] = scale * static_cast<float>(codes[k] - zero);
    }
  }
}

}  // namespace

// Fills a PackedWeight; the orders are described in README.md.
class Packer {
 public:
  Packer(std::span<const WeightView> parts, WeightScheme scheme) : parts_(parts) {
    w_.scheme_ = scheme;
    w_.k_ = parts.front().k;
    for (const WeightView& v : parts) w_.n_ += v.n;
  }

  // Nothing when a code or a zero point is not of its type.
  PackedWeight Run(const PackRun& run) && {
    if (IsInt4(w_.scheme_)) {
      run([this](int part, int parts) { CheckZeros(part, parts); });
      if (wrong_) return {};
    }
    Layout();
    run([this](int part, int parts) {
      Scratch scratch(*this);
      const Range panels = Partition(w_.panels(), part, parts);
      for (int64_t p = panels.begin; p < panels.end; ++p) PackPanel(p, scratch);
    });
    if (wrong_) return {};
    return std::move(w_);
  }

 private:
  static constexpr int64_t kPanel = PackedWeight::kPanel;

  // Row `index` of `view`; null in the lanes after the last row.
  struct Row {
    const WeightView* view = nullptr;
    int64_t index = 0;
  };
  using Rows = std::array<Row, kPanel>;
  using Lanes = std::array<const uint8_t*, kPanel>;

  // One thread's rows on their way from the views to a panel.
  struct Scratch {
    // A line more than a row: lanes a multiple of 4096 bytes apart would share few cache sets.
    explicit Scratch(const Packer& packer)
        : stride(static_cast<size_t>(packer.LaneBytes()) + kCacheLineBytes),
          lanes(stride * kPanel),
          padding(std::max<size_t>(stride, static_cast<size_t>(packer.w_.groups_) * 4)) {}

    uint8_t* lane(int64_t i) { return lanes.data() + static_cast<size_t>(i) * stride; }

    size_t stride;
    UnsetVector<uint8_t> lanes;
    std::vector<uint8_t> padding;  // zeros, for lanes without a row
    std::vector<float> values;
  };

  // Of a dense scheme; the bytes of one element of any.
  ScalarType DenseType() const {
    return w_.scheme_ == WeightScheme::kFp32   ? ScalarType::kFp32
           : w_.scheme_ == WeightScheme::kFp16 ? ScalarType::kFp16
                                               : ScalarType::kBf16;
  }
  size_t UnitBytes() const {
    if (IsDense(w_.scheme_)) return BytesOf(DenseType());
    return w_.scheme_ == WeightScheme::kW8A8Fp8 ? 1 : 4;
  }
  int64_t Units() const {
    if (w_.scheme_ == WeightScheme::kW8A8) return (w_.k_ + 3) / 4;
    return IsInt4(w_.scheme_) ? (w_.k_ + 7) / 8 : w_.k_;
  }
  // Of one row in its panel.
  int64_t LaneBytes() const {
    switch (w_.scheme_) {
      case WeightScheme::kFp32:
        return w_.k_ * 4;
      case WeightScheme::kFp16:
      case WeightScheme::kBf16:
        return RoundUp(w_.k_, 2) * 2;
      case WeightScheme::kW8A8:
        return RoundUp(w_.k_, kKUnit);
      case WeightScheme::kW8A8Fp8:
        return w_.k_;
      case WeightScheme::kW4A16:
      case WeightScheme::kW4A8:
        return RoundUp(w_.k_, kKUnit) / 2;
    }
    return 0;
  }

  void CheckZeros(int part, int parts) {
    for (const WeightView& v : parts_) {
      const Range share = Partition(v.n * Groups(v), part, parts);
      if (share.empty()) continue;
      const int64_t offset = UnsignedOffset(v);
      internal::ZeroRange stored;
      if (v.zeros != nullptr) stored = internal::RangeOf(v.zeros + share.begin, share.size());
      const int64_t low = stored.low + offset;
      const int64_t high = stored.high + offset;
      if (low < 0 || high > internal::kMaxUnsignedZero) wrong_ = true;
      if (low != internal::kSymmetricZero || high != low) zeros_ = true;
    }
  }

  void Layout() {
    const WeightView& v = parts_.front();
    w_.panel_bytes_ = static_cast<size_t>(LaneBytes() * kPanel);
    size_t bytes = w_.panel_bytes_ * static_cast<size_t>(w_.panels());
    if (!IsDense(w_.scheme_)) {
      w_.group_ = std::min(v.group, v.k);
      w_.groups_ = Groups(v);
      w_.scale_type_ = v.scale_type;
      const size_t entries = static_cast<size_t>(w_.panels() * w_.groups_ * kPanel);
      w_.scales_offset_ = bytes;
      bytes += entries * BytesOf(v.scale_type);
      if (zeros_) {
        w_.zeros_offset_ = bytes;
        bytes += entries;
      }
    }
    w_.buffer_ = AlignedBuffer<uint8_t>::Unset(bytes);
  }

  Rows RowsOf(int64_t p) const {
    Rows rows;
    int64_t first = 0;  // row of the whole matrix
    for (const WeightView& v : parts_) {
      const int64_t begin = std::max(p * kPanel, first);
      const int64_t end = std::min((p + 1) * kPanel, first + v.n);
      for (int64_t row = begin; row < end; ++row) {
        rows[static_cast<size_t>(row % kPanel)] = {&v, row - first};
      }
      first += v.n;
    }
    return rows;
  }

  void PackPanel(int64_t p, Scratch& scratch) {
    const Rows rows = RowsOf(p);
    Lanes lanes;
    for (size_t i = 0; i < lanes.size(); ++i) {
      lanes[i] = rows[i].view == nullptr
                     ? scratch.padding.data()
                     : Lane(*rows[i].view, rows[i].index, static_cast<int64_t>(i), scratch);
    }
    uint8_t* panel = w_.buffer_.data() + static_cast<size_t>(p) * w_.panel_bytes_;
    const size_t used = static_cast<size_t>(Units() * kPanel) * UnitBytes();
    internal::InterleaveRows(lanes, Units(), UnitBytes(), panel);
    std::memset(panel + used, 0, w_.panel_bytes_ - used);
    if (!IsDense(w_.scheme_)) PackScales(p, rows, scratch);
    if (w_.zeros_offset_ != 0) PackZeros(p, rows, scratch);
  }

  // The units of one row: where they stand, or as lane `lane` of `scratch`.
  const uint8_t* Lane(const WeightView& v, int64_t i, int64_t lane, Scratch& scratch) {
    if (IsDense(w_.scheme_)) return DenseLane(v, i, lane, scratch);
    uint8_t* to = scratch.lane(lane);
    const int8_t* codes = v.codes + i * v.k;
    bool right = true;
    if (w_.scheme_ == WeightScheme::kW8A8) {
      internal::Int8Units(codes, v.k, to);
    } else if (w_.scheme_ == WeightScheme::kW8A8Fp8) {
      right = internal::E4m3Units(codes, v.k, to);
    } else {
      right = internal::Int4Units(codes, v.k, v.codes_type == CodeType::kInt4, to);
    }
    if (!right) wrong_ = true;
    return to;
  }

  const uint8_t* DenseLane(const WeightView& v, int64_t i, int64_t lane, Scratch& scratch) {
    const ScalarType type = DenseType();
    const void* row = nullptr;
    ScalarType row_type = ScalarType::kFp32;
    if (v.codes_type != CodeType::kDense || v.rows != nullptr) {
      scratch.values.resize(static_cast<size_t>(v.k));
      if (v.codes_type != CodeType::kDense) {
        DequantizeCodes(v, i, scratch.values.data());
      } else {
        (*v.rows)(i, scratch.values.data());
      }
      row = scratch.values.data();
    } else {
      row_type = v.dense_type;
      row =
          static_cast<const uint8_t*>(v.dense) + i * v.k * static_cast<int64_t>(BytesOf(row_type));
      if (row_type == type) return static_cast<const uint8_t*>(row);
    }
    ConvertFloats(row, row_type, v.k, type, scratch.lane(lane));
    return scratch.lane(lane);
  }

  void PackScales(int64_t p, const Rows& rows, Scratch& scratch) {
    const size_t size = BytesOf(w_.scale_type_);
    Lanes lanes;
    for (size_t i = 0; i < lanes.size(); ++i) {
      const Row& row = rows[i];
      lanes[i] = row.view == nullptr ? scratch.padding.data()
                                     : static_cast<const uint8_t*>(row.view->scales) +
                                           static_cast<size_t>(row.index * w_.groups_) * size;
    }
    internal::InterleaveRows(lanes, w_.groups_, size,
                             w_.buffer_.data() + w_.scales_offset_ +
                                 static_cast<size_t>(p * w_.groups_ * kPanel) * size);
  }

  void PackZeros(int64_t p, const Rows& rows, Scratch& scratch) {
    uint8_t* to = w_.buffer_.data() + w_.zeros_offset_ + p * w_.groups_ * kPanel;
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      const auto& [view, row] = rows[static_cast<size_t>(lane)];
      for (int64_t j = 0; j < w_.groups_; ++j) {
        const int32_t zero =
            view == nullptr || view->zeros == nullptr ? 0 : view->zeros[row * w_.groups_ + j];
        const int offset = view == nullptr ? 0 : UnsignedOffset(*view);
        to[j * kPanel + lane] = static_cast<uint8_t>(zero + offset);
      }
    }
  }

  std::span<const WeightView> parts_;
  PackedWeight w_;
  // What the parts found, none of them waiting for another.
  std::atomic<bool> wrong_ = false;
  std::atomic<bool> zeros_ = false;
};

PackResult PackInParts(std::span<const WeightView> parts, WeightScheme scheme, const PackRun& run) {
  PackResult result;
  result.problem = internal::FormProblem(parts, scheme);
  if (!result.problem.empty()) return result;
  result.weight = Packer(parts, scheme).Run(run);
  // Where the one pass over the numbers found one that is wrong, a second says which.
  if (result.weight.n() == 0) result.problem = PackProblem(parts, scheme);
  BATON_KERNELS_REQUIRE(result.weight.n() != 0 || !result.problem.empty());
  return result;
}

PackedWeight Pack(std::span<const WeightView> parts, WeightScheme scheme) {
  PackResult result = PackInParts(parts, scheme, [](const auto& work) { work(0, 1); });
  BATON_KERNELS_REQUIRE(result.problem.empty());
  return std::move(result.weight);
}

}  // namespace baton::kernels
