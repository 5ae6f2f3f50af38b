#include "common/quant/formats/awq.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <utility>

#include "common/base/status.h"
#include "common/quant/bit_packing.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr int kBits = 4;
constexpr int64_t kPerWord = 8;
// Nibble that holds output column 8 c + i of word c: the inverse of the order 0 2 4 6 1 3 5 7 in
// which the packer takes the columns.
constexpr std::array<int, kPerWord> kNibble = {0, 4, 1, 5, 2, 6, 3, 7};
constexpr int64_t kMaxGroup = 1 << 20;

// Bytes of eight words, word by word, become byte by byte: an 8 x 8 transposition.
void TransposeBytes(std::array<uint64_t, kPerWord>& x) {
  constexpr std::array<uint64_t, 3> kMask = {0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF,
                                             0x00000000FFFFFFFF};
  for (int step = 0; step < 3; ++step) {
    const size_t distance = size_t{1} << step;
    const int shift = 8 << step;
    for (size_t i = 0; i < x.size(); ++i) {
      if ((i & distance) != 0) continue;
      const uint64_t swap = (x[i] >> shift ^ x[i + distance]) & kMask[static_cast<size_t>(step)];
      x[i] ^= swap << shift;
      x[i + distance] ^= swap;
    }
  }
}

// Word `c` of the eight rows of the file from k on: eight output features at eight inputs, the
// features kUnpackColumns bytes apart.
void UnpackSquare(const TensorView& codes, int64_t words, int64_t k, int64_t c, uint8_t* out) {
  std::array<uint64_t, kPerWord> square;
  for (int64_t i = 0; i < kPerWord; ++i) {
    square[static_cast<size_t>(i)] =
        SpreadNibbles(static_cast<uint32_t>(Int32At(codes, (k + i) * words + c)));
  }
  TransposeBytes(square);
  for (int64_t i = 0; i < kPerWord; ++i) {
    std::memcpy(out + i * kUnpackColumns,
                &square[static_cast<size_t>(kNibble[static_cast<size_t>(i)])], kPerWord);
  }
}

// A block of UnpackInBlocks; its rows are whole words.
void UnpackBlock(const TensorView& codes, int64_t words, kernels::Range rows,
                 kernels::Range columns, uint8_t* out) {
  const auto at = [&](int64_t c, int64_t k) {
    return out + (c * kPerWord - rows.begin) * kUnpackColumns + k - columns.begin;
  };
  const kernels::Range share = {rows.begin / kPerWord, rows.end / kPerWord};
  int64_t k = columns.begin;
  for (; k + kPerWord <= columns.end; k += kPerWord) {
    for (int64_t c = share.begin; c < share.end; ++c) UnpackSquare(codes, words, k, c, at(c, k));
  }
  for (; k < columns.end; ++k) {
    for (int64_t c = share.begin; c < share.end; ++c) {
      const auto word = static_cast<uint32_t>(Int32At(codes, k * words + c));
      for (int64_t i = 0; i < kPerWord; ++i) {
        const int shift = kBits * kNibble[static_cast<size_t>(i)];
        at(c, k)[i * kUnpackColumns] = static_cast<uint8_t>(word >> shift & 15);
      }
    }
  }
}

class AwqReader final : public FormatReader {
 public:
  AwqReader(int64_t group, bool gemm) : group_(group), gemm_(gemm) {}

  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    if (tensors.Find("qweight") == nullptr) return std::nullopt;
    QuantizedWeight weight;
    QuantizedTensor& t = weight.tensor;
    t = {.n = n, .k = k, .code = TensorCode::kUnsigned, .bits = kBits};
    t.block_columns = group_ < 0 ? k : group_;
    if (k % t.block_columns != 0) {
      return tensors.Wrong(
          "qweight",
          fmt::format("{} columns, expected a multiple of group_size {}", k, t.block_columns));
    }
    const absl::Status status = gemm_ ? ReadGemm(tensors, t, run) : ReadGemv(tensors, t, run);
    if (!status.ok()) return status;
    return weight;
  }

 private:
  // qweight [K, N/8], qzeros [K/g, N/8], scales [K/g, N].
  absl::Status ReadGemm(const ModuleTensors& tensors, QuantizedTensor& t,
                        const RunParts& run) const {
    if (t.n % kPerWord != 0) {
      return tensors.Wrong("qweight", fmt::format("{} rows, expected a multiple of 8", t.n));
    }
    const int64_t words = t.n / kPerWord;
    const int64_t groups = t.groups();
    BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                           tensors.Require("qweight", {DataType::kI32}, {t.k, words}));
    BATON_ASSIGN_OR_RETURN(const TensorView* zeros,
                           tensors.Require("qzeros", {DataType::kI32}, {groups, words}));
    BATON_ASSIGN_OR_RETURN(
        const TensorView* scales,
        tensors.Require("scales", {DataType::kF16, DataType::kBf16}, {groups, t.n}));
    CopyScales(*scales, t.n, groups, true, run, t);
    UnpackInBlocks(t, run, [&](kernels::Range rows, kernels::Range columns, uint8_t* out) {
      UnpackBlock(*codes, words, rows, columns, out);
    });
    t.zeros.resize(static_cast<size_t>(t.n * groups));
    FillTransposed(t.n, groups, run, [&](int64_t n, int64_t g) {
      const auto word = static_cast<uint32_t>(Int32At(*zeros, g * words + n / kPerWord));
      t.zeros[static_cast<size_t>(n * groups + g)] =
          static_cast<int32_t>(word >> (kBits * kNibble[n % kPerWord]) & 15);
    });
    return absl::OkStatus();
  }

  // qweight [N, K/8], qzeros [N, z], scales [N, 8 z]; z rounds up past the groups.
  absl::Status ReadGemv(const ModuleTensors& tensors, QuantizedTensor& t,
                        const RunParts& run) const {
    if (t.k % kPerWord != 0) {
      return tensors.Wrong("qweight", fmt::format("{} columns, expected a multiple of 8", t.k));
    }
    const int64_t words = t.k / kPerWord;
    const int64_t groups = t.groups();
    BATON_ASSIGN_OR_RETURN(const TensorView* codes,
                           tensors.Require("qweight", {DataType::kI32}, {t.n, words}));
    int64_t width = PackedWords(groups, kBits);
    if (const TensorView* padded = tensors.Find("qzeros");
        padded != nullptr && padded->shape.size() == 2 && padded->shape[1] > width) {
      width = padded->shape[1];
    }
    BATON_ASSIGN_OR_RETURN(const TensorView* zeros,
                           tensors.Require("qzeros", {DataType::kI32}, {t.n, width}));
    BATON_ASSIGN_OR_RETURN(
        const TensorView* scales,
        tensors.Require("scales", {DataType::kF16, DataType::kBf16}, {t.n, kPerWord * width}));
    t.scale_type =
        scales->type == DataType::kF16 ? kernels::ScalarType::kFp16 : kernels::ScalarType::kBf16;
    t.codes.resize(static_cast<size_t>(t.n * t.k));
    t.scales.resize(static_cast<size_t>(t.n * groups) * 2);
    t.zeros.resize(static_cast<size_t>(t.n * groups));
    run([&](int part, int parts) {
      const kernels::Range share = kernels::Partition(t.n, part, parts);
      for (int64_t n = share.begin; n < share.end; ++n) {
        const PackedStream row(codes->bytes.data() + n * words * 4, 1, kBits);
        UnpackCodes(row, t.k, t.codes.data() + n * t.k);
        const PackedStream zero(zeros->bytes.data() + n * width * 4, 1, kBits);
        for (int64_t g = 0; g < groups; ++g) {
          t.zeros[static_cast<size_t>(n * groups + g)] = zero.Code(g);
        }
        std::memcpy(t.scales.data() + n * groups * 2,
                    scales->bytes.data() + n * width * kPerWord * 2,
                    static_cast<size_t>(groups) * 2);
      }
    });
    return absl::OkStatus();
  }

  int64_t group_;  // -1: one per row
  bool gemm_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeAwqReader(const JsonFields& config) {
  BATON_ASSIGN_OR_RETURN(const int64_t older_bits, config.Int("w_bit", 1, 16, kBits));
  BATON_ASSIGN_OR_RETURN(const int64_t bits, config.Int("bits", 1, 16, older_bits));
  if (bits != kBits) {
    return Unimplemented("{}bits: {}, expected 4 for awq", config.prefix(), bits);
  }
  BATON_ASSIGN_OR_RETURN(const int64_t older_group, config.Int("q_group_size", -1, kMaxGroup, 128));
  BATON_ASSIGN_OR_RETURN(const int64_t group, config.Int("group_size", -1, kMaxGroup, older_group));
  if (group == 0) {
    return InvalidArgument("{}group_size: 0, expected -1 or a size", config.prefix());
  }
  BATON_ASSIGN_OR_RETURN(std::string version, config.String("version", std::string("gemm")));
  for (char& c : version) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool gemm = version.compare("gemm") == 0;
  if (!gemm && version.compare("gemv") != 0) {
    return Unimplemented("{}version: '{}', expected gemm or gemv", config.prefix(), version);
  }
  return std::make_unique<AwqReader>(group, gemm);
}

}  // namespace baton
