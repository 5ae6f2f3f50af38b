#include "common/quant/formats/fp8.h"

#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr int64_t kMaxBlock = 1 << 20;

struct Fp8Layout {
  int64_t block_rows = 0;  // 0: one scale per tensor or row, as the file has it
  int64_t block_columns = 0;
  bool static_inputs = false;
  float magnitude_limit = 0;
};

class Fp8Reader final : public FormatReader {
 public:
  explicit Fp8Reader(const Fp8Layout& layout) : layout_(layout) {}

  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    const TensorView* codes = tensors.Find("weight");
    if (codes == nullptr || codes->type != DataType::kF8E4m3) return std::nullopt;
    BATON_ASSIGN_OR_RETURN(codes, tensors.Require("weight", {DataType::kF8E4m3}, {n, k}));
    QuantizedWeight weight;
    QuantizedTensor& t = weight.tensor;
    t = {.n = n, .k = k, .code = TensorCode::kE4m3};
    const absl::Status status =
        layout_.block_rows > 0 ? ReadBlockScales(tensors, run, t) : ReadScales(tensors, run, t);
    if (!status.ok()) return status;
    CopyCodes(*codes, run, t);
    weight.activations = {.type = ActivationType::kFp8, .magnitude_limit = layout_.magnitude_limit};
    if (layout_.static_inputs) {
      BATON_ASSIGN_OR_RETURN(weight.activations.static_scale, tensors.RequireScalar("input_scale"));
    }
    return weight;
  }

 private:
  absl::Status ReadBlockScales(const ModuleTensors& tensors, const RunParts& run,
                               QuantizedTensor& t) const {
    t.block_rows = layout_.block_rows;
    t.block_columns = layout_.block_columns;
    BATON_ASSIGN_OR_RETURN(
        const TensorView* scales,
        tensors.Require("weight_scale_inv", {DataType::kF32, DataType::kBf16, DataType::kF16},
                        {t.row_blocks(), t.groups()}));
    CopyScales(*scales, t.row_blocks(), t.groups(), false, run, t);
    return absl::OkStatus();
  }

  // [], [1]: one for the tensor; [N], [N, 1]: one per row.
  absl::Status ReadScales(const ModuleTensors& tensors, const RunParts& run,
                          QuantizedTensor& t) const {
    t.block_columns = t.k;
    const TensorView* found = tensors.Find("weight_scale");
    std::vector<int64_t> shape = {t.n, 1};
    if (found != nullptr) {
      const std::vector<int64_t>& s = found->shape;
      if (s.empty() || s == std::vector<int64_t>{1}) {
        t.block_rows = t.n;
        shape = s;
      } else if (s == std::vector<int64_t>{t.n}) {
        shape = s;
      }
    }
    BATON_ASSIGN_OR_RETURN(
        const TensorView* scales,
        tensors.Require("weight_scale", {DataType::kF32, DataType::kBf16, DataType::kF16}, shape));
    CopyScales(*scales, t.row_blocks(), 1, false, run, t);
    return absl::OkStatus();
  }

  Fp8Layout layout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeFp8Reader(const JsonFields& config) {
  Fp8Layout layout;
  BATON_ASSIGN_OR_RETURN(const std::string scheme,
                         config.String("activation_scheme", std::string("dynamic")));
  if (scheme != "static" && scheme != "dynamic") {
    return InvalidArgument("{}activation_scheme: '{}', expected static or dynamic", config.prefix(),
                           scheme);
  }
  layout.static_inputs = scheme == "static";
  BATON_ASSIGN_OR_RETURN(const std::string code, config.String("fmt", std::string("e4m3")));
  if (code != "e4m3") {
    return Unimplemented("{}fmt: '{}', expected e4m3", config.prefix(), code);
  }
  if (const nlohmann::json* block = config.Find("weight_block_size")) {
    const auto valid = [](const nlohmann::json& size) {
      return size.is_number_integer() && size >= 1 && size <= kMaxBlock;
    };
    if (!block->is_array() || block->size() != 2 || !valid((*block)[0]) || !valid((*block)[1])) {
      return InvalidArgument("{}weight_block_size: {}, expected two sizes from 1 to {}",
                             config.prefix(), ShortJson(*block), kMaxBlock);
    }
    layout.block_rows = (*block)[0].get<int64_t>();
    layout.block_columns = (*block)[1].get<int64_t>();
    if (layout.static_inputs) {
      return Unimplemented("{}activation_scheme: 'static', expected dynamic with weight_block_size",
                           config.prefix());
    }
  }
  return std::make_unique<Fp8Reader>(layout);
}

absl::StatusOr<std::unique_ptr<FormatReader>> MakeFbgemmFp8Reader(const JsonFields& config) {
  Fp8Layout layout;
  BATON_ASSIGN_OR_RETURN(const double bound, config.Number("activation_scale_ub", 1e-6, 1e30, 0.0));
  layout.magnitude_limit = static_cast<float>(bound);
  return std::make_unique<Fp8Reader>(layout);
}

}  // namespace baton
