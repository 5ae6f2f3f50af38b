// Writes a model folder per scheme with CheckpointWriter, rounded to nearest, and beside it what
// our reader makes of it: OUT/SCHEME/ and OUT/SCHEME.expected.safetensors ("<module>" [N, K] F32).
// For tests/oracles.
//   write_checkpoints MODEL OUT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/base/status.h"
#include "common/model/safetensors_writer.h"
#include "common/quant/checkpoint_writer.h"
#include "common/quant/formats/stack_form.h"
#include "common/quant/formats/weight_source.h"
#include "common/quant/weight_format.h"
#include "kernels/numeric/formats.h"

namespace baton {
namespace {

using kernels::CodeType;

// One scale per row, s = amax / 448 in fp32.
QuantizedTensor RoundToFp8(const TensorView& source) {
  QuantizedTensor t{.n = source.shape[0], .k = source.shape[1], .code = TensorCode::kE4m3};
  t.block_columns = t.k;
  t.scale_type = kernels::ScalarType::kFp32;
  std::vector<float> row(static_cast<size_t>(t.k));
  for (int64_t n = 0; n < t.n; ++n) {
    ToFloat(source, n * t.k, t.k, row.data());
    float amax = 1e-12f;
    for (const float w : row) amax = std::max(amax, std::abs(w));
    const float scale = amax / 448;
    const auto bytes = std::as_bytes(std::span(&scale, 1));
    t.scales.insert(t.scales.end(), bytes.begin(), bytes.end());
    for (const float w : row) t.codes.push_back(kernels::E4m3FromFloat(w / scale));
  }
  return t;
}

QuantizedTensor Quantize(std::string_view scheme, const WeightSpec& spec, const TensorView& w) {
  const bool mixed_down = scheme == "mixed" && spec.kind == WeightKind::kDown;
  if (scheme == "fp8" || scheme == "fp8-weights") return RoundToFp8(w);
  CodeType type = CodeType::kUint4;
  int64_t group = GroupFor(w.shape[1], 128);
  if (scheme == "w8a8" || mixed_down) {
    type = CodeType::kInt8;
    group = w.shape[1];
  } else if (scheme == "w4a16-symmetric" || scheme == "mixed") {
    type = CodeType::kInt4;
  }
  QuantizedMatrix matrix = MakeQuantizedMatrix(w.shape[0], w.shape[1], group, type);
  RoundToNearest(w, matrix, 0, 1);
  return ToTensor(std::move(matrix));
}

ActivationScheme InputsOf(std::string_view scheme, WeightKind kind) {
  if (scheme == "fp8") return {.type = ActivationType::kFp8};
  const bool int8 =
      scheme == "w8a8" || scheme == "w4a8" || (scheme == "mixed" && kind == WeightKind::kDown);
  return {.type = int8 ? ActivationType::kInt8 : ActivationType::kFloat};
}

absl::Status WriteScheme(const Checkpoint& base, const std::filesystem::path& folder,
                         const std::filesystem::path& out, const std::string& scheme) {
  BATON_ASSIGN_OR_RETURN(const auto writer,
                         CheckpointWriter::Create(base, folder, out / scheme, {.recipe = scheme}));
  std::vector<WeightSpec> linear;
  for (const WeightSpec& spec : ExpectedWeights(base.config())) {
    if (!IsLinearLayer(spec.kind) || spec.kind == WeightKind::kLmHead) continue;
    linear.push_back(spec);
    const std::string module = spec.name.substr(0, spec.name.size() - std::strlen(".weight"));
    const QuantizedTensor tensor = Quantize(scheme, spec, base.Get(spec.kind, spec.layer));
    BATON_RETURN_IF_ERROR(writer->AddWeight(module, tensor, InputsOf(scheme, spec.kind)));
    if (spec.kind == WeightKind::kDown) BATON_RETURN_IF_ERROR(writer->EndFile());
  }
  BATON_RETURN_IF_ERROR(writer->Finish());
  BATON_ASSIGN_OR_RETURN(const Checkpoint written,
                         Checkpoint::Open(out / scheme, {.accept_quantized = true}));
  BATON_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(written));
  std::vector<std::vector<float>> values;
  std::vector<NamedTensor> expected;
  for (const WeightSpec& spec : linear) {
    BATON_ASSIGN_OR_RETURN(const LoadedWeight weight,
                           source.Read(spec.kind, spec.layer, RunSerially));
    values.push_back(Dequantize(weight.quantized->tensor, RunSerially));
    expected.push_back({spec.name.substr(0, spec.name.size() - std::strlen(".weight")),
                        {DataType::kF32, spec.shape, std::as_bytes(std::span(values.back()))}});
  }
  return WriteSafetensors(out / (scheme + ".expected.safetensors"), expected, {});
}

absl::Status Run(const std::filesystem::path& folder, const std::filesystem::path& out) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint base, Checkpoint::Open(folder));
  for (const char* scheme :
       {"w8a8", "w4a16", "w4a16-symmetric", "w4a8", "fp8", "fp8-weights", "mixed"}) {
    BATON_RETURN_IF_ERROR(Annotate(WriteScheme(base, folder, out, scheme), scheme));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: write_checkpoints MODEL OUT\n");
    return 2;
  }
  const absl::Status status = baton::Run(argv[1], argv[2]);
  if (!status.ok()) fmt::print(stderr, "{}\n", baton::ToString(status));
  return status.ok() ? 0 : 1;
}
