#include "common/quant/formats/stack_form.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::ScalarType;
using kernels::WeightScheme;

// The rules of kernels::PackProblem for one part.
bool KernelTakes(const QuantizedTensor& t, WeightScheme scheme) {
  constexpr int64_t kMaxIntegerColumns = 65536;
  if (scheme != WeightScheme::kW4A16 && t.k > kMaxIntegerColumns) return false;
  if (scheme == WeightScheme::kW8A8) {
    return t.bits == 8 && t.code == TensorCode::kSigned && t.zeros.empty() && t.groups() == 1;
  }
  const int half = t.code == TensorCode::kSigned ? 1 << (t.bits - 1) : 0;
  return t.bits <= 4 && (t.block_columns % 32 == 0 || t.block_columns >= t.k) &&
         std::all_of(t.zeros.begin(), t.zeros.end(),
                     [half](int32_t z) { return z >= -half && z <= 255 - half; });
}

bool Fp8KernelTakes(const QuantizedTensor& t, const RunParts& run) {
  return t.groups() == 1 && t.zeros.empty() && CodesAreNumbers(t, run);
}

// The kernel for one part, if there is one.
std::optional<WeightScheme> SchemeOf(const LoadedWeight& part, const RunParts& run) {
  if (!part.quantized || part.quantized->expanded) return std::nullopt;
  const QuantizedTensor& t = part.quantized->tensor;
  const ActivationType inputs = part.quantized->activations.type;
  if (!t.float_zeros.empty()) return std::nullopt;
  if (t.code == TensorCode::kE4m3 || inputs == ActivationType::kFp8) {
    // The kernel's scale of a token has no limit.
    const bool plain = part.quantized->activations.magnitude_limit == 0;
    const bool takes = t.code == TensorCode::kE4m3 && inputs == ActivationType::kFp8 && plain &&
                       Fp8KernelTakes(t, run);
    return takes ? std::optional(WeightScheme::kW8A8Fp8) : std::nullopt;
  }
  WeightScheme scheme = WeightScheme::kW4A16;
  if (inputs == ActivationType::kInt8) {
    scheme = t.bits <= 4 ? WeightScheme::kW4A8 : WeightScheme::kW8A8;
  }
  if (!KernelTakes(t, scheme)) return std::nullopt;
  return scheme;
}

// Columns in the order of their groups; nothing when the groups are not all of the full size.
std::optional<std::vector<int32_t>> GroupOrder(const QuantizedTensor& t) {
  std::vector<int32_t> order(static_cast<size_t>(t.k));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return t.column_group[static_cast<size_t>(a)] < t.column_group[static_cast<size_t>(b)];
  });
  for (int64_t i = 0; i < t.k; ++i) {
    const int32_t column = order[static_cast<size_t>(i)];
    if (t.column_group[static_cast<size_t>(column)] != i / t.block_columns) return std::nullopt;
  }
  return order;
}

void Permute(QuantizedTensor& t, const std::vector<int32_t>& order, const RunParts& run) {
  run([&](int part, int parts) {
    std::vector<uint8_t> row(static_cast<size_t>(t.k));
    const kernels::Range share = kernels::Partition(t.n, part, parts);
    for (int64_t n = share.begin; n < share.end; ++n) {
      uint8_t* codes = t.codes.data() + n * t.k;
      for (int64_t i = 0; i < t.k; ++i) {
        row[static_cast<size_t>(i)] = codes[order[static_cast<size_t>(i)]];
      }
      std::copy(row.begin(), row.end(), codes);
    }
  });
  t.column_group.clear();
}

// Scales and zero points of a block, or of the tensor, once for each row.
void ExpandRows(QuantizedTensor& t) {
  if (t.block_rows == 1) return;
  const int64_t groups = t.groups();
  const auto bytes = static_cast<size_t>(groups) * kernels::BytesOf(t.scale_type);
  std::vector<std::byte> scales(static_cast<size_t>(t.n) * bytes);
  std::vector<int32_t> zeros(t.zeros.empty() ? 0 : static_cast<size_t>(t.n * groups));
  for (int64_t n = 0; n < t.n; ++n) {
    const auto block = static_cast<size_t>(n / t.block_rows);
    std::memcpy(scales.data() + static_cast<size_t>(n) * bytes, t.scales.data() + block * bytes,
                bytes);
    if (!zeros.empty()) {
      std::copy_n(t.zeros.begin() + static_cast<int64_t>(block) * groups, groups,
                  zeros.begin() + n * groups);
    }
  }
  t.scales = std::move(scales);
  t.zeros = std::move(zeros);
  t.block_rows = 1;
}

void WidenScales(QuantizedTensor& t) {
  if (t.scale_type == ScalarType::kFp32) return;
  std::vector<std::byte> wide(static_cast<size_t>(t.row_blocks() * t.groups()) * sizeof(float));
  for (int64_t i = 0; i < t.row_blocks() * t.groups(); ++i) {
    const float scale = t.Scale(i / t.groups(), i % t.groups());
    std::memcpy(wide.data() + i * static_cast<int64_t>(sizeof(scale)), &scale, sizeof(scale));
  }
  t.scales = std::move(wide);
  t.scale_type = ScalarType::kFp32;
}

// Signed codes become unsigned ones with zero points: the same values.
void MakeUnsigned(QuantizedTensor& t, const RunParts& run) {
  const int half = t.code == TensorCode::kSigned ? 1 << (t.bits - 1) : 0;
  if (t.zeros.empty()) t.zeros.assign(static_cast<size_t>(t.row_blocks() * t.groups()), 0);
  if (half == 0) return;
  const uint8_t mask = static_cast<uint8_t>(2 * half - 1);
  run([&](int part, int parts) {
    const auto count = static_cast<int64_t>(t.codes.size());
    const kernels::Range share = kernels::Partition(count, part, parts);
    uint8_t* codes = t.codes.data();
    for (int64_t i = share.begin; i < share.end; ++i) {
      codes[i] = static_cast<uint8_t>(codes[i] + half) & mask;
    }
  });
  for (int32_t& zero : t.zeros) zero += half;
  t.code = TensorCode::kUnsigned;
}

// Parts that are stacked must be of one code type, one scale type and one group size.
void Unify(std::vector<QuantizedTensor>& tensors, const RunParts& run) {
  const QuantizedTensor& first = tensors.front();
  bool same_scale = true;
  bool same_code = true;
  for (const QuantizedTensor& t : tensors) {
    same_scale = same_scale && t.scale_type == first.scale_type;
    same_code = same_code && t.code == first.code && t.zeros.empty() == first.zeros.empty();
  }
  for (QuantizedTensor& t : tensors) {
    ExpandRows(t);
    if (!same_scale) WidenScales(t);
    if (!same_code) MakeUnsigned(t, run);
  }
}

kernels::WeightView ViewOf(const QuantizedTensor& t, WeightScheme scheme) {
  kernels::WeightView view;
  view.n = t.n;
  view.k = t.k;
  view.codes_type = scheme == WeightScheme::kW8A8      ? CodeType::kInt8
                    : scheme == WeightScheme::kW8A8Fp8 ? CodeType::kE4m3
                    : t.code == TensorCode::kSigned    ? CodeType::kInt4
                                                       : CodeType::kUint4;
  view.codes = reinterpret_cast<const int8_t*>(t.codes.data());
  view.scales = t.scales.data();
  view.scale_type = t.scale_type;
  view.zeros = t.zeros.empty() ? nullptr : t.zeros.data();
  view.group = t.block_columns;
  return view;
}

// Moves the tensors of `parts` into `form` when one kernel takes them all; otherwise leaves both
// alone.
bool TakeCodes(std::vector<LoadedWeight>& parts, bool gather_allowed, const RunParts& run,
               StackForm& form) {
  const std::optional<WeightScheme> scheme = SchemeOf(parts.front(), run);
  if (!scheme) return false;
  std::optional<std::vector<int32_t>> order;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && SchemeOf(parts[i], run) != scheme) return false;
    const QuantizedTensor& t = parts[i].quantized->tensor;
    if (t.block_columns != parts.front().quantized->tensor.block_columns) return false;
    std::vector<int32_t> own;
    if (!t.column_group.empty()) {
      auto found = GroupOrder(t);
      if (!found || !gather_allowed) return false;
      own = *std::move(found);
    }
    if (order && *order != own) return false;
    order = std::move(own);
  }
  std::vector<QuantizedTensor> tensors;
  for (LoadedWeight& part : parts) tensors.push_back(std::move(part.quantized->tensor));
  Unify(tensors, run);
  std::vector<kernels::WeightView> views;
  for (QuantizedTensor& t : tensors) {
    if (!order->empty()) Permute(t, *order, run);
    views.push_back(ViewOf(t, *scheme));
  }
  form.scheme = *scheme;
  form.tensors = std::move(tensors);
  form.views = std::move(views);
  form.gather = *std::move(order);
  return true;
}

// The parts as rows of fp32.
void TakeValues(std::vector<LoadedWeight>& parts, StackForm& form) {
  // Views and sources point into these.
  form.tensors.reserve(parts.size());
  form.expanded.reserve(parts.size());
  form.sources.reserve(parts.size());
  for (LoadedWeight& part : parts) {
    kernels::WeightView view;
    if (!part.quantized) {
      view.n = part.dense->shape[0];
      view.k = part.dense->shape[1];
      form.sources.push_back([tensor = *part.dense](int64_t row, float* out) {
        ToFloat(tensor, row * tensor.shape[1], tensor.shape[1], out);
      });
    } else if (part.quantized->expanded) {
      const ExpandedWeight& held = form.expanded.emplace_back(*std::move(part.quantized->expanded));
      view.n = held.n;
      view.k = held.k;
      view.dense = held.values.data();
    } else {
      const QuantizedTensor& held = form.tensors.emplace_back(std::move(part.quantized->tensor));
      view.n = held.n;
      view.k = held.k;
      form.sources.push_back([&held](int64_t row, float* out) { DequantizeRow(held, row, out); });
    }
    if (view.dense == nullptr) view.rows = &form.sources.back();
    form.views.push_back(view);
  }
}

std::string InputNote(const ActivationScheme& activations) {
  if (activations.type == ActivationType::kFloat || !activations.static_scale) return "";
  return fmt::format("static scales of {} inputs are not used: each token has its own",
                     activations.type == ActivationType::kInt8 ? "int8" : "fp8");
}

}  // namespace

std::vector<float> Dequantize(const QuantizedTensor& tensor, const RunParts& run) {
  std::vector<float> values(static_cast<size_t>(tensor.n * tensor.k));
  run([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(tensor.n, part, parts);
    for (int64_t n = share.begin; n < share.end; ++n) {
      DequantizeRow(tensor, n, values.data() + n * tensor.k);
    }
  });
  return values;
}

std::vector<float> Dequantize(QuantizedWeight&& weight, const RunParts& run) {
  if (weight.expanded) return std::move(weight.expanded->values);
  return Dequantize(weight.tensor, run);
}

StackForm NativeForm(std::vector<LoadedWeight> parts, bool gather_allowed, const RunParts& run) {
  BATON_CHECK(!parts.empty());
  StackForm form;
  std::string description = "an unquantized part";
  ActivationScheme activations;
  for (const LoadedWeight& part : parts) {
    if (!part.quantized) continue;
    description = Describe(*part.quantized);
    activations = part.quantized->activations;
    break;
  }
  if (TakeCodes(parts, gather_allowed, run, form)) {
    form.note = InputNote(activations);
    return form;
  }
  form.scheme = WeightScheme::kFp16;
  form.note = fmt::format("no kernel for '{}'{}: dequantized exactly, then rounded once to fp16",
                          description, parts.size() > 1 ? " in these layers" : "");
  TakeValues(parts, form);
  return form;
}

}  // namespace baton
