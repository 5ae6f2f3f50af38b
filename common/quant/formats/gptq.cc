#include "common/quant/formats/gptq.h"

#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "common/quant/bit_packing.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr int64_t kMaxGroup = 1 << 20;

class GptqReader final : public FormatReader {
 public:
  GptqReader(int bits, int64_t group, bool stored_minus_one)
      : bits_(bits), group_(group), stored_minus_one_(stored_minus_one) {}

  // qweight [K bits/32, N], qzeros [ceil(K/g), N bits/32], scales [ceil(K/g), N], g_idx [K].
  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    if (tensors.Find("qweight") == nullptr) return std::nullopt;
    QuantizedWeight weight;
    QuantizedTensor& t = weight.tensor;
    t = {.n = n, .k = k, .code = TensorCode::kUnsigned, .bits = bits_};
    t.block_columns = group_ < 0 ? k : std::min(group_, k);
    if (k * bits_ % 32 != 0 || n * bits_ % 32 != 0) {
      return tensors.Wrong(
          "qweight",
          fmt::format("[{}, {}] in {} bits, expected whole words of 32 bits", n, k, bits_));
    }
    const int64_t groups = t.groups();
    BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                           tensors.Require("qweight", {DataType::kI32}, {k * bits_ / 32, n}));
    BATON_ASSIGN_OR_RETURN(const TensorView* zeros,
                           tensors.Require("qzeros", {DataType::kI32}, {groups, n * bits_ / 32}));
    BATON_ASSIGN_OR_RETURN(
        const TensorView* scales,
        tensors.Require("scales", {DataType::kF16, DataType::kBf16, DataType::kF32}, {groups, n}));
    BATON_ASSIGN_OR_RETURN(t.column_group,
                           ReadColumnGroups(tensors, "g_idx", k, t.block_columns, groups));
    CopyScales(*scales, n, groups, true, run, t);
    t.zeros.resize(static_cast<size_t>(n * groups));
    FillTransposed(n, groups, run, [&](int64_t i, int64_t g) {
      const PackedStream row(zeros->bytes.data() + g * n * bits_ / 8, 1, bits_);
      t.zeros[static_cast<size_t>(i * groups + g)] = row.Code(i) + (stored_minus_one_ ? 1 : 0);
    });
    UnpackInBlocks(t, run, [&](kernels::Range rows, kernels::Range columns, uint8_t* out) {
      Unpack(*codes, n, rows, columns, out);
    });
    return weight;
  }

 private:
  // A block of UnpackInBlocks: 32 codes, `bits_` whole words of one of the `n` columns of the file,
  // at a time; K may end within them.
  void Unpack(const TensorView& codes, int64_t n, kernels::Range rows, kernels::Range columns,
              uint8_t* out) const {
    for (int64_t first = columns.begin; first < columns.end; first += 32) {
      const std::byte* words = codes.bytes.data() + first / 32 * bits_ * n * 4;
      const int64_t count = std::min<int64_t>(32, columns.end - first);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        UnpackCodes(PackedStream(words + row * 4, n, bits_), count,
                    out + (row - rows.begin) * kUnpackColumns + first - columns.begin);
      }
    }
  }

  int bits_;
  int64_t group_;  // -1: one per row
  bool stored_minus_one_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeGptqReader(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const int64_t bits, config.Int("bits", 1, 16));
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    return Unimplemented("{}bits: {}, expected 2, 3, 4 or 8 for gptq", config.prefix(), bits);
  }
  BATON_ASSIGN_OR_RETURN(const int64_t group, config.Int("group_size", -1, kMaxGroup, -1));
  if (group == 0) {
    return InvalidArgument("{}group_size: 0, expected -1 or a size", config.prefix());
  }
  BATON_ASSIGN_OR_RETURN(const bool marlin, config.Bool("is_marlin_format", false));
  const std::string older = marlin ? "marlin" : "gptq";
  BATON_ASSIGN_OR_RETURN(const std::string newer, config.String("format", older));
  BATON_ASSIGN_OR_RETURN(const std::string format, config.String("checkpoint_format", newer));
  if (format != "gptq" && format != "gptq_v2") {
    return Unimplemented("{}checkpoint_format: '{}', expected gptq or gptq_v2", config.prefix(),
                         format);
  }
  BATON_ASSIGN_OR_RETURN(const std::string word, config.String("pack_dtype", std::string("int32")));
  if (word != "int32") {
    return Unimplemented("{}pack_dtype: '{}', expected int32", config.prefix(), word);
  }
  // Modules that keep their type ("-:") show by their tensors; others would have their own bits.
  if (const nlohmann::json* rules = config.Find("dynamic"); rules != nullptr) {
    for (const auto& [rule, unused] : rules->items()) {
      if (!rule.starts_with("-:")) {
        return Unimplemented("{}dynamic: '{}', expected no rule but those of \"-:\"",
                             config.prefix(), rule.substr(0, 80));
      }
    }
  }
  return std::make_unique<GptqReader>(static_cast<int>(bits), group, format == "gptq");
}

}  // namespace baton
