#include "common/quant/formats/hqq.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr int64_t kMaxGroup = 1 << 20;

// How codes of a width stand in words: row r of the grouped matrix in part r / step of word row
// r % step, part 0 in the highest bits.
struct Packing {
  int bits;
  std::string_view name;
  DataType word;
  int parts;
  bool padded;  // rows are filled up to whole words
};
constexpr std::array<Packing, 4> kPackings = {{
    {8, "8bit_u8", DataType::kU8, 1, false},
    {4, "4bit_u8", DataType::kU8, 2, false},
    {3, "3bit_32", DataType::kI32, 10, true},
    {2, "2bit_u8", DataType::kU8, 4, false},
}};

struct Parameters {
  int64_t bits = 4;
  int64_t group = 0;  // 0: a whole row (axis 1) or column (axis 0)
  int64_t axis = 1;
};

// A number of a module, stored as a tensor of one integer; `fallback` where there is none.
absl::StatusOr<int64_t> ReadNumber(const ModuleTensors& tensors, std::string_view suffix,
                                   int64_t min, int64_t max, int64_t fallback) {
  const TensorView* view = tensors.Find(suffix);
  if (view == nullptr) return fallback;
  const std::vector<int64_t> shape =
      view->shape.empty() ? std::vector<int64_t>{} : std::vector<int64_t>{1};
  BATON_RETURN_IF_ERROR(
      tensors.Require(suffix, {DataType::kI32, DataType::kI64, DataType::kU8}, shape).status());
  uint64_t raw = 0;
  std::memcpy(&raw, view->bytes.data(), view->bytes.size());
  const int64_t value = view->type == DataType::kI32
                            ? static_cast<int32_t>(static_cast<uint32_t>(raw))
                            : static_cast<int64_t>(raw);
  if (value < min || value > max) {
    return tensors.Wrong(suffix, fmt::format("{}, expected {} to {}", value, min, max));
  }
  return value;
}

absl::Status CheckShape(const ModuleTensors& tensors, int64_t n, int64_t k) {
  const TensorView* view = tensors.Find("shape");
  if (view == nullptr) return absl::OkStatus();
  BATON_RETURN_IF_ERROR(tensors.Require("shape", {DataType::kI32, DataType::kI64}, {2}).status());
  const auto size = static_cast<size_t>(SizeOf(view->type));
  std::array<int64_t, 2> stored = {};
  for (size_t i = 0; i < stored.size(); ++i) {
    if (view->type == DataType::kI32) {
      stored[i] = Int32At(*view, static_cast<int64_t>(i));
    } else {
      std::memcpy(&stored[i], view->bytes.data() + i * size, size);
    }
  }
  if (stored[0] == n && stored[1] == k) return absl::OkStatus();
  return tensors.Wrong("shape",
                       fmt::format("[{}, {}], expected [{}, {}]", stored[0], stored[1], n, k));
}

// The matrix as HQQ views it: [rows, columns], groups along `axis`.
struct Grouped {
  const TensorView* words;
  const Packing* packing;
  int64_t rows;
  int64_t columns;
  int64_t step;  // word rows
  int64_t axis;
  std::vector<float> scales;  // [rows] for axis 1, [columns] for axis 0
  std::vector<float> zeros;
};

uint32_t WordAt(const TensorView& words, int64_t i) {
  return words.type == DataType::kU8 ? static_cast<uint32_t>(words.bytes[static_cast<size_t>(i)])
                                     : static_cast<uint32_t>(Int32At(words, i));
}

// Values [begin, end) of the flattened matrix.
void Expand(const Grouped& g, int64_t begin, int64_t end, float* out) {
  const int bits = g.packing->bits;
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / g.columns;
    const int64_t stop = std::min(end, (row + 1) * g.columns);
    const int shift = bits * static_cast<int>(g.packing->parts - 1 - row / g.step);
    const int64_t base = row % g.step * g.columns;
    for (; i < stop; ++i) {
      const int64_t column = i - row * g.columns;
      const auto code = static_cast<float>(WordAt(*g.words, base + column) >> shift & mask);
      const auto group = static_cast<size_t>(g.axis == 1 ? row : column);
      out[i] = (code - g.zeros[group]) * g.scales[group];
    }
  }
}

class HqqReader final : public FormatReader {
 public:
  explicit HqqReader(const Parameters& parameters) : parameters_(parameters) {}

  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    if (tensors.Find("W_q") == nullptr && tensors.Find("scale") == nullptr) return std::nullopt;
    BATON_RETURN_IF_ERROR(CheckShape(tensors, n, k));
    BATON_ASSIGN_OR_RETURN(const Parameters p, ReadParameters(tensors));
    const int64_t group = p.group > 0 ? p.group : (p.axis == 1 ? k : n);
    BATON_ASSIGN_OR_RETURN(const Grouped grouped, ReadGrouped(tensors, p, group, n * k));
    ExpandedWeight weight{.n = n, .k = k};
    weight.values.resize(static_cast<size_t>(n * k));
    run([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(n, part, parts);
      Expand(grouped, share.begin * k, share.end * k, weight.values.data());
    });
    weight.description =
        fmt::format("hqq int{}, groups of {} along axis {}", p.bits, group, p.axis);
    const int scale_bits = 8 * SizeOf(tensors.Find("scale")->type);
    const int zero_bits = 8 * SizeOf(tensors.Find("zero")->type);
    weight.bits_per_weight =
        static_cast<double>(p.bits) +
        static_cast<double>(scale_bits + zero_bits) / static_cast<double>(group);
    return QuantizedWeight{.tensor = {}, .activations = {}, .expanded = std::move(weight)};
  }

 private:
  // What the module's own tensors say, else the configuration.
  absl::StatusOr<Parameters> ReadParameters(const ModuleTensors& tensors) const {
    Parameters p;
    BATON_ASSIGN_OR_RETURN(p.bits, ReadNumber(tensors, "nbits", 1, 16, parameters_.bits));
    BATON_ASSIGN_OR_RETURN(p.group,
                           ReadNumber(tensors, "group_size", 1, kMaxGroup, parameters_.group));
    BATON_ASSIGN_OR_RETURN(p.axis, ReadNumber(tensors, "axis", 0, 1, parameters_.axis));
    for (const std::string_view flag : {"quant_scale", "quant_zero", "view_as_float"}) {
      BATON_ASSIGN_OR_RETURN(const int64_t set, ReadNumber(tensors, flag, 0, 1, 0));
      if (set != 0) {
        return Unimplemented("tensor '{}': true, expected false", tensors.NameOf(flag));
      }
    }
    return p;
  }

  static absl::StatusOr<Grouped> ReadGrouped(const ModuleTensors& tensors, const Parameters& p,
                                             int64_t group, int64_t count) {
    const auto packing = std::find_if(kPackings.begin(), kPackings.end(),
                                      [&](const Packing& known) { return known.bits == p.bits; });
    if (packing == kPackings.end()) {
      return Unimplemented("tensor '{}': {}, expected 8, 4, 3 or 2", tensors.NameOf("nbits"),
                           p.bits);
    }
    if (const TensorView* name = tensors.Find("packing")) {
      const auto size = static_cast<int64_t>(packing->name.size());
      BATON_RETURN_IF_ERROR(tensors.Require("packing", {DataType::kU8}, {size}).status());
      if (std::memcmp(name->bytes.data(), packing->name.data(), packing->name.size()) != 0) {
        return tensors.Wrong("packing", fmt::format("expected {}", packing->name));
      }
    }
    if (count % group != 0) {
      return tensors.Wrong("W_q",
                           fmt::format("{} values, expected whole groups of {}", count, group));
    }
    Grouped g{.packing = &*packing, .axis = p.axis};
    g.rows = p.axis == 1 ? count / group : group;
    g.columns = p.axis == 1 ? group : count / group;
    if (!packing->padded && g.rows % packing->parts != 0) {
      return tensors.Wrong("W_q", fmt::format("{} rows of groups, expected a multiple of {}",
                                              g.rows, packing->parts));
    }
    g.step = (g.rows + packing->parts - 1) / packing->parts;
    BATON_ASSIGN_OR_RETURN(g.words, tensors.Require("W_q", {packing->word}, {g.step, g.columns}));
    const std::vector<int64_t> shape =
        p.axis == 1 ? std::vector<int64_t>{g.rows, 1} : std::vector<int64_t>{1, g.columns};
    for (const auto& [suffix, values] : {std::pair{"scale", &g.scales}, {"zero", &g.zeros}}) {
      BATON_ASSIGN_OR_RETURN(
          const TensorView* view,
          tensors.Require(suffix, {DataType::kF32, DataType::kF16, DataType::kBf16}, shape));
      values->resize(static_cast<size_t>(count / group));
      ToFloat(*view, 0, count / group, values->data());
    }
    return g;
  }

  Parameters parameters_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeHqqReader(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const JsonFields all, config.Object("quant_config"));
  BATON_ASSIGN_OR_RETURN(const JsonFields weights, all.Object("weight_quant_params"));
  for (const std::string_view name : {"scale_quant_params", "zero_quant_params"}) {
    if (all.Has(name)) {
      return Unimplemented("{}{}: {}, expected null", all.prefix(), name,
                           ShortJson(*all.Find(name)));
    }
  }
  Parameters p;
  BATON_ASSIGN_OR_RETURN(p.bits, weights.Int("nbits", 1, 16, 4));
  if (std::none_of(kPackings.begin(), kPackings.end(),
                   [&](const Packing& known) { return known.bits == p.bits; })) {
    return Unimplemented("{}nbits: {}, expected 8, 4, 3 or 2", weights.prefix(), p.bits);
  }
  if (weights.Has("group_size")) {
    BATON_ASSIGN_OR_RETURN(p.group, weights.Int("group_size", 1, kMaxGroup));
  }
  BATON_ASSIGN_OR_RETURN(p.axis, weights.Int("axis", 0, 1, 1));
  BATON_ASSIGN_OR_RETURN(const bool channels, weights.Bool("channel_wise", true));
  if (!channels) {
    return Unimplemented("{}channel_wise: false, expected true", weights.prefix());
  }
  BATON_ASSIGN_OR_RETURN(const bool floats, weights.Bool("view_as_float", false));
  if (floats) return Unimplemented("{}view_as_float: true, expected false", weights.prefix());
  return std::make_unique<HqqReader>(p);
}

}  // namespace baton
