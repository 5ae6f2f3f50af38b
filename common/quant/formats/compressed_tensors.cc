#include "common/quant/formats/compressed_tensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/status.h"
#include "common/quant/bit_packing.h"
#include "common/quant/formats/compressed_tensors_config.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr std::initializer_list<DataType> kScaleTypes = {DataType::kF32, DataType::kBf16,
                                                         DataType::kF16};

// Older programs never let a code cross into the next word: 32 / bits codes each.
struct WordLayout {
  int64_t width;  // words per row
  bool crossing;
};

absl::StatusOr<WordLayout> LayoutOf(const ModuleTensors& tensors, std::string_view suffix,
                                    int64_t count, int bits, int axis) {
  const int64_t dense = PackedWords(count, bits);
  const int64_t per_word = 32 / bits;
  const int64_t padded = (count + per_word - 1) / per_word;
  if (dense == padded && 32 % bits != 0 && count > per_word) {
    return Unimplemented(
        "tensor '{}': {} codes of {} bits fit {} words in two layouts, expected "
        "a size that tells which",
        tensors.NameOf(suffix), count, bits, dense);
  }
  const TensorView* view = tensors.Find(suffix);
  if (view != nullptr && view->shape.size() == 2 && view->shape[axis] == padded &&
      padded != dense) {
    return WordLayout{padded, false};
  }
  return WordLayout{dense, true};
}

uint8_t CodeOf(const PackedStream& stream, const WordLayout& layout, int bits, int64_t i) {
  if (layout.crossing) return stream.Code(i);
  const int64_t per_word = 32 / bits;
  return static_cast<uint8_t>(stream.Word(i / per_word) >> (i % per_word * bits) &
                              ((1u << bits) - 1));
}

class CompressedTensorsReader final : public FormatReader {
 public:
  explicit CompressedTensorsReader(CompressionConfig config) : config_(std::move(config)) {}

  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    const bool embedding = tensors.module().ends_with("embed_tokens");
    const CompressionScheme* scheme =
        config_.Find(tensors.module(), embedding ? "Embedding" : "Linear");
    if (scheme == nullptr) return std::nullopt;
    QuantizedWeight weight;
    QuantizedTensor& t = weight.tensor;
    t = {.n = n, .k = k, .bits = scheme->bits};
    if (scheme->is_float) t.code = TensorCode::kE4m3;
    BATON_RETURN_IF_ERROR(ReadScales(tensors, *scheme, run, t));
    const absl::Status status = scheme->format == CompressionFormat::kPacked
                                    ? ReadPacked(tensors, *scheme, t, run)
                                    : ReadPlain(tensors, *scheme, t, run);
    if (!status.ok()) return status;
    weight.activations.type = scheme->activations;
    if (scheme->static_activations) {
      BATON_ASSIGN_OR_RETURN(weight.activations.static_scale, tensors.RequireScalar("input_scale"));
    }
    return weight;
  }

  std::vector<std::string> Notes() const override { return config_.notes(); }

 private:
  static absl::Status ReadScales(const ModuleTensors& tensors, const CompressionScheme& scheme,
                                 const RunParts& run, QuantizedTensor& t) {
    t.block_columns = t.k;
    std::vector<int64_t> shape;
    switch (scheme.strategy) {
      case CompressionStrategy::kTensor: {
        t.block_rows = t.n;
        const TensorView* found = tensors.Find("weight_scale");
        shape = {1};
        if (found != nullptr && (found->shape.empty() || found->shape.size() == 2)) {
          shape = found->shape.empty() ? std::vector<int64_t>{} : std::vector<int64_t>{1, 1};
        }
        break;
      }
      case CompressionStrategy::kChannel:
        shape = {t.n, 1};
        break;
      case CompressionStrategy::kGroup:
        t.block_columns = std::min(scheme.group_size, t.k);
        shape = {t.n, t.groups()};
        break;
      case CompressionStrategy::kBlock:
        t.block_rows = scheme.block_rows;
        t.block_columns = scheme.block_columns;
        shape = {t.row_blocks(), t.groups()};
        break;
    }
    BATON_ASSIGN_OR_RETURN(const TensorView* scales,
                           tensors.Require("weight_scale", kScaleTypes, shape));
    CopyScales(*scales, t.row_blocks(), t.groups(), false, run, t);
    if (scheme.has_column_groups) {
      BATON_ASSIGN_OR_RETURN(t.column_group, ReadColumnGroups(tensors, "weight_g_idx", t.k,
                                                              t.block_columns, t.groups()));
    }
    return absl::OkStatus();
  }

  // weight_packed [N, words] of code + 2^(bits - 1); weight_zero_point [words of N, groups] of zero
  // + 2^(bits - 1), packed along N; weight_shape [2].
  static absl::Status ReadPacked(const ModuleTensors& tensors, const CompressionScheme& scheme,
                                 QuantizedTensor& t, const RunParts& run) {
    BATON_RETURN_IF_ERROR(CheckShape(tensors, t));
    BATON_ASSIGN_OR_RETURN(const WordLayout layout,
                           LayoutOf(tensors, "weight_packed", t.k, t.bits, 1));
    BATON_ASSIGN_OR_RETURN(const TensorView* words,
                           tensors.Require("weight_packed", {DataType::kI32}, {t.n, layout.width}));
    const int half = 1 << (t.bits - 1);
    t.codes.resize(static_cast<size_t>(t.n * t.k));
    run([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(t.n, part, parts);
      for (int64_t row = share.begin; row < share.end; ++row) {
        const PackedStream stream(words->bytes.data() + row * layout.width * 4, 1, t.bits);
        uint8_t* out = t.codes.data() + row * t.k;
        if (layout.crossing) {
          UnpackCodes(stream, t.k, out);
        } else {
          for (int64_t k = 0; k < t.k; ++k) out[k] = CodeOf(stream, layout, t.bits, k);
        }
        MakeSigned(out, t.k, t.bits);
      }
    });
    if (scheme.symmetric) return absl::OkStatus();
    if (scheme.strategy != CompressionStrategy::kGroup &&
        scheme.strategy != CompressionStrategy::kChannel) {
      return ReadPlainZeros(tensors, t);
    }
    const int64_t groups = t.groups();
    BATON_ASSIGN_OR_RETURN(const WordLayout tall,
                           LayoutOf(tensors, "weight_zero_point", t.n, t.bits, 0));
    BATON_ASSIGN_OR_RETURN(
        const TensorView* zeros,
        tensors.Require("weight_zero_point", {DataType::kI32}, {tall.width, groups}));
    t.zeros.resize(static_cast<size_t>(t.n * groups));
    run([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(t.n, part, parts);
      for (int64_t row = share.begin; row < share.end; ++row) {
        for (int64_t g = 0; g < groups; ++g) {
          const PackedStream column(zeros->bytes.data() + g * 4, groups, t.bits);
          t.zeros[static_cast<size_t>(row * groups + g)] = CodeOf(column, tall, t.bits, row) - half;
        }
      }
    });
    return absl::OkStatus();
  }

  static absl::Status CheckShape(const ModuleTensors& tensors, const QuantizedTensor& t) {
    BATON_ASSIGN_OR_RETURN(const TensorView* shape,
                           tensors.Require("weight_shape", {DataType::kI64, DataType::kI32}, {2}));
    int64_t sizes[2];
    for (int i : {0, 1}) {
      if (shape->type == DataType::kI64) {
        std::memcpy(&sizes[i], shape->bytes.data() + i * 8, 8);
      } else {
        sizes[i] = Int32At(*shape, i);
      }
    }
    if (sizes[0] == t.n && sizes[1] == t.k) return absl::OkStatus();
    return tensors.Wrong("weight_shape",
                         fmt::format("[{}, {}], expected [{}, {}]", sizes[0], sizes[1], t.n, t.k));
  }

  // weight [N, K], one byte per code; weight_zero_point in the scales' shape.
  static absl::Status ReadPlain(const ModuleTensors& tensors, const CompressionScheme& scheme,
                                QuantizedTensor& t, const RunParts& run) {
    const DataType type = scheme.is_float ? DataType::kF8E4m3 : DataType::kI8;
    BATON_ASSIGN_OR_RETURN(const TensorView* codes, tensors.Require("weight", {type}, {t.n, t.k}));
    CopyCodes(*codes, run, t);
    if (CodesInRange(t, run)) return PlainZeros(tensors, scheme, t);
    const int half = 1 << (t.bits - 1);
    for (const uint8_t byte : t.codes) {
      const int code = static_cast<int8_t>(byte);
      if (code < -half || code >= half) {
        return tensors.Wrong("weight", fmt::format("code {}, expected {} bits", code, t.bits));
      }
    }
    return PlainZeros(tensors, scheme, t);
  }

  static absl::Status PlainZeros(const ModuleTensors& tensors, const CompressionScheme& scheme,
                                 QuantizedTensor& t) {
    return scheme.symmetric || scheme.is_float ? absl::OkStatus() : ReadPlainZeros(tensors, t);
  }

  static absl::Status ReadPlainZeros(const ModuleTensors& tensors, QuantizedTensor& t) {
    const TensorView* scales = tensors.Find("weight_scale");
    BATON_ASSIGN_OR_RETURN(
        const TensorView* zeros,
        tensors.Require("weight_zero_point", {DataType::kI8, DataType::kI32}, scales->shape));
    t.zeros.resize(static_cast<size_t>(t.row_blocks() * t.groups()));
    for (size_t i = 0; i < t.zeros.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      t.zeros[i] =
          zeros->type == DataType::kI8 ? static_cast<int8_t>(zeros->bytes[i]) : Int32At(*zeros, at);
    }
    return absl::OkStatus();
  }

  CompressionConfig config_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeCompressedTensorsReader(
    const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(CompressionConfig parsed, CompressionConfig::Parse(config));
  return std::make_unique<CompressedTensorsReader>(std::move(parsed));
}

}  // namespace baton
