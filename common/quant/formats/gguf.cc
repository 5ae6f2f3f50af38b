#include "common/quant/formats/gguf.h"

#include <array>
#include <utility>

#include "common/base/status.h"
#include "common/model/gguf.h"
#include "common/quant/formats/gguf_blocks.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, 8> kTypes = {"Q4_0", "Q4_1", "Q5_0", "Q5_1",
                                                    "Q8_0", "Q4_K", "Q5_K", "Q6_K"};

class GgufReader final : public FormatReader {
 public:
  absl::StatusOr<std::optional<QuantizedWeight>> Read(const ModuleTensors& tensors, int64_t n,
                                                      int64_t k,
                                                      const RunParts& run) const override {
    for (const std::string_view name : kTypes) {
      const std::string suffix = "gguf." + std::string(name);
      if (tensors.Find(suffix) == nullptr) continue;
      const GgufType& type = *FindGgufType(name);
      if (k % type.values != 0) {
        return tensors.Wrong(
            suffix, fmt::format("rows of {} values, expected a multiple of {}", k, type.values));
      }
      const int64_t blocks = k / type.values;
      BATON_ASSIGN_OR_RETURN(const TensorView* view,
                             tensors.Require(suffix, {DataType::kU8}, {n, blocks * type.bytes}));
      ExpandedWeight weight{.n = n, .k = k};
      weight.values.resize(static_cast<size_t>(n * k));
      const ExpandBlocks expand = FindExpandBlocks(name);
      run([&](int part, int parts) {
        const kernels::Range rows = kernels::Partition(n, part, parts);
        expand(view->bytes.data() + rows.begin * blocks * type.bytes, rows.size() * blocks,
               weight.values.data() + rows.begin * k);
      });
      weight.description = "gguf " + std::string(name);
      weight.bits_per_weight =
          8 * static_cast<double>(type.bytes) / static_cast<double>(type.values);
      return QuantizedWeight{.tensor = {}, .activations = {}, .expanded = std::move(weight)};
    }
    return std::nullopt;
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<FormatReader>> MakeGgufReader(const JsonFields&) {
  return std::make_unique<GgufReader>();
}

}  // namespace baton
