#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/model/safetensors.h"
#include "common/quant/quantized_tensor.h"
#include "common/quant/run_parts.h"
#include "kernels/numeric/partition.h"

namespace baton {

// The tensors of one module of a checkpoint, "<module>.<suffix>". Borrows the map.
class ModuleTensors {
 public:
  ModuleTensors(const TensorMap& tensors, std::string_view module)
      : tensors_(tensors), module_(module) {}

  const std::string& module() const { return module_; }
  std::string NameOf(std::string_view suffix) const { return module_ + "." + std::string(suffix); }
  // Null when there is none.
  const TensorView* Find(std::string_view suffix) const {
    const auto it = tensors_.find(NameOf(suffix));
    return it == tensors_.end() ? nullptr : &it->second;
  }
  // FAILED_PRECONDITION, naming the tensor, what it is and what was expected, when it is absent or
  // has another type or shape.
  absl::StatusOr<const TensorView*> Require(std::string_view suffix,
                                            std::initializer_list<DataType> types,
                                            const std::vector<int64_t>& shape) const;
  // The same for a single number, [] or [1].
  absl::StatusOr<float> RequireScalar(std::string_view suffix) const;
  // FAILED_PRECONDITION with the tensor's name in front.
  absl::Status Wrong(std::string_view suffix, std::string_view what) const;

 private:
  const TensorMap& tensors_;
  std::string module_;
};

// [r, c] values of F32, F16 or BF16 become the scales of `tensor`, in their type. `transposed`: the
// file holds [c, r].
void CopyScales(const TensorView& view, int64_t rows, int64_t columns, bool transposed,
                const RunParts& run, QuantizedTensor& tensor);

// Bytes [n, k], one per code, become the codes of `tensor`.
void CopyCodes(const TensorView& view, const RunParts& run, QuantizedTensor& tensor);

// Calls fill(row, column) once for each of [rows, columns], on the threads of `run`, for a file
// that holds [columns, rows]: in blocks that keep to few lines of both.
template <typename Fill>
void FillTransposed(int64_t rows, int64_t columns, const RunParts& run, const Fill& fill) {
  constexpr int64_t kBlockRows = 64;
  run([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(rows, part, parts, kBlockRows);
    for (int64_t first = share.begin; first < share.end; first += kBlockRows) {
      const int64_t last = std::min(share.end, first + kBlockRows);
      for (int64_t column = 0; column < columns; ++column) {
        for (int64_t row = first; row < last; ++row) fill(row, column);
      }
    }
  });
}

// Little-endian INT32 at index i.
inline int32_t Int32At(const TensorView& view, int64_t i) {
  int32_t value;
  std::memcpy(&value, view.bytes.data() + i * 4, sizeof(value));
  return value;
}

// Group numbers [k] from a file, checked against `groups`. Left empty where they are k / group.
absl::StatusOr<std::vector<int32_t>> ReadColumnGroups(const ModuleTensors& tensors,
                                                      std::string_view suffix, int64_t k,
                                                      int64_t group, int64_t groups);

// Unpacks the codes of `tensor` on the threads of `run`, for a file whose order is along N:
// unpack(rows, columns, out) writes a block, row i of it at out + i · kUnpackColumns, and blocks
// start at multiples of kUnpackRows and kUnpackColumns. Rows of a matrix are often a power of two
// apart, where a first-level cache holds the lines of few of them: the blocks are unpacked side by
// side and leave in whole lines.
inline constexpr int64_t kUnpackRows = 128;
inline constexpr int64_t kUnpackColumns = 128;
template <typename Unpack>
void UnpackInBlocks(QuantizedTensor& tensor, const RunParts& run, const Unpack& unpack) {
  tensor.codes.resize(static_cast<size_t>(tensor.n * tensor.k));
  run([&](int part, int parts) {
    std::vector<uint8_t> block(kUnpackRows * kUnpackColumns);
    const kernels::Range share = kernels::Partition(tensor.n, part, parts, kUnpackRows);
    for (int64_t row = share.begin; row < share.end; row += kUnpackRows) {
      const kernels::Range rows = {row, std::min(share.end, row + kUnpackRows)};
      for (int64_t column = 0; column < tensor.k; column += kUnpackColumns) {
        const kernels::Range columns = {column, std::min(tensor.k, column + kUnpackColumns)};
        unpack(rows, columns, block.data());
        for (int64_t i = 0; i < rows.size(); ++i) {
          std::memcpy(tensor.codes.data() + (row + i) * tensor.k + column,
                      block.data() + i * kUnpackColumns, static_cast<size_t>(columns.size()));
        }
      }
    }
  });
}

}  // namespace baton
