#include "common/quant/formats/module_tensors.h"

#include <algorithm>
#include <cstring>

#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"

namespace baton {

absl::Status ModuleTensors::Wrong(std::string_view suffix, std::string_view what) const {
  return FailedPrecondition("tensor '{}': {}", NameOf(suffix), what);
}

absl::StatusOr<const TensorView*> ModuleTensors::Require(std::string_view suffix,
                                                         std::initializer_list<DataType> types,
                                                         const std::vector<int64_t>& shape) const {
  const TensorView* view = Find(suffix);
  const std::string wanted = fmt::format("[{}]", fmt::join(shape, ", "));
  if (view == nullptr) return Wrong(suffix, fmt::format("missing, expected shape {}", wanted));
  if (view->shape != shape) {
    return Wrong(suffix,
                 fmt::format("shape [{}], expected {}", fmt::join(view->shape, ", "), wanted));
  }
  if (std::find(types.begin(), types.end(), view->type) == types.end()) {
    std::vector<std::string_view> names;
    for (const DataType type : types) names.push_back(baton::NameOf(type));
    return Wrong(suffix, fmt::format("type {}, expected {}", baton::NameOf(view->type),
                                     fmt::join(names, " or ")));
  }
  return view;
}

absl::StatusOr<float> ModuleTensors::RequireScalar(std::string_view suffix) const {
  const TensorView* view = Find(suffix);
  const bool scalar = view != nullptr && view->shape.empty();
  BATON_ASSIGN_OR_RETURN(view, Require(suffix, {DataType::kF32, DataType::kF16, DataType::kBf16},
                                       scalar ? std::vector<int64_t>{} : std::vector<int64_t>{1}));
  float value;
  ToFloat(*view, 0, 1, &value);
  return value;
}

void CopyScales(const TensorView& view, int64_t rows, int64_t columns, bool transposed,
                const RunParts& run, QuantizedTensor& tensor) {
  tensor.scale_type = view.type == DataType::kF32   ? kernels::ScalarType::kFp32
                      : view.type == DataType::kF16 ? kernels::ScalarType::kFp16
                                                    : kernels::ScalarType::kBf16;
  if (!transposed) {
    tensor.scales.assign(view.bytes.begin(), view.bytes.end());
    return;
  }
  const auto size = static_cast<int64_t>(kernels::BytesOf(tensor.scale_type));
  tensor.scales.resize(static_cast<size_t>(rows * columns * size));
  FillTransposed(rows, columns, run, [&](int64_t r, int64_t c) {
    std::memcpy(tensor.scales.data() + (r * columns + c) * size,
                view.bytes.data() + (c * rows + r) * size, static_cast<size_t>(size));
  });
}

void CopyCodes(const TensorView& view, const RunParts& run, QuantizedTensor& tensor) {
  tensor.codes.resize(view.bytes.size());
  run([&](int part, int parts) {
    const kernels::Range share =
        kernels::Partition(static_cast<int64_t>(view.bytes.size()), part, parts);
    std::memcpy(tensor.codes.data() + share.begin, view.bytes.data() + share.begin,
                static_cast<size_t>(share.size()));
  });
}

absl::StatusOr<std::vector<int32_t>> ReadColumnGroups(const ModuleTensors& tensors,
                                                      std::string_view suffix, int64_t k,
                                                      int64_t group, int64_t groups) {
  std::vector<int32_t> column_group;
  if (tensors.Find(suffix) == nullptr) return column_group;
  BATON_ASSIGN_OR_RETURN(const TensorView* view, tensors.Require(suffix, {DataType::kI32}, {k}));
  bool in_order = true;
  column_group.resize(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) {
    const int32_t number = Int32At(*view, i);
    if (number < 0 || number >= groups) {
      return tensors.Wrong(
          suffix, fmt::format("group {} of column {}, expected 0 to {}", number, i, groups - 1));
    }
    column_group[static_cast<size_t>(i)] = number;
    in_order = in_order && number == i / group;
  }
  if (in_order) column_group.clear();
  return column_group;
}

}  // namespace baton
