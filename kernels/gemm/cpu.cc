#include "kernels/gemm/cpu_kernels.h"
#include "kernels/gemm/gemm.h"
#include "kernels/numeric/require.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

const char* TargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(TargetName);

const char* DispatchTarget() { return HWY_DYNAMIC_DISPATCH(TargetName)(); }

void GemmCpu(const GemmParams& params, int part, int parts) {
  const PackedWeight& w = *params.w;
  const bool quantized = TakesQuantizedActivations(w.scheme());
  BATON_KERNELS_REQUIRE(params.m == 0 || params.out != nullptr);
  BATON_KERNELS_REQUIRE(params.m == 0 ||
                        (quantized ? params.quantized.codes != nullptr : params.a != nullptr));
  BATON_KERNELS_REQUIRE(!quantized || (params.quantized.stride >= PaddedActivations(w.k()) &&
                                       params.quantized.stride % kActivationBlock == 0));
  Range rows{0, params.m};
  Range panels{0, w.panels()};
  if (w.panels() >= parts) {
    panels = Partition(w.panels(), part, parts);
  } else {
    rows = Partition(params.m, part, parts);
  }
  if (rows.empty() || panels.empty()) return;
  switch (w.scheme()) {
    case WeightScheme::kFp32:
    case WeightScheme::kFp16:
    case WeightScheme::kBf16:
      return internal::GemmDense(params, rows, panels);
    case WeightScheme::kW8A8:
      return internal::GemmW8A8(params, rows, panels);
    case WeightScheme::kW4A16:
      return internal::GemmW4A16(params, rows, panels);
    case WeightScheme::kW4A8:
      return internal::GemmW4A8(params, rows, panels);
    case WeightScheme::kW8A8Fp8:
      return internal::GemmW8A8Fp8(params, rows, panels);
  }
}

}  // namespace baton::kernels
#endif
