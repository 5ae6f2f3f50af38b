#include <cmath>

#include "kernels/norm/norm.h"
#include "kernels/numeric/partition.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// residual += x.
HWY_INLINE void AddInto(const float* HWY_RESTRICT x, float* HWY_RESTRICT residual, int dim) {
  const Tag df;
  const int lanes = static_cast<int>(hn::Lanes(df));
  int i = 0;
  for (; i + lanes <= dim; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(df, residual + i), hn::LoadU(df, x + i)), df, residual + i);
  }
  for (; i < dim; ++i) residual[i] += x[i];
}

HWY_INLINE float SumOfSquares(const float* x, int dim) {
  const Tag df;
  const int lanes = static_cast<int>(hn::Lanes(df));
  Vec sum0 = hn::Zero(df);
  Vec sum1 = hn::Zero(df);
  int i = 0;
  for (; i + 2 * lanes <= dim; i += 2 * lanes) {
    const Vec a = hn::LoadU(df, x + i);
    const Vec b = hn::LoadU(df, x + i + lanes);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  for (; i < dim; i += lanes) {
    const Vec a = i + lanes <= dim
                      ? hn::LoadU(df, x + i)
                      : hn::MaskedLoad(hn::FirstN(df, static_cast<size_t>(dim - i)), df, x + i);
    sum0 = hn::MulAdd(a, a, sum0);
  }
  return hn::GetLane(hn::SumOfLanes(df, hn::Add(sum0, sum1)));
}

HWY_INLINE void ScaleRow(const float* x, float scale, const float* weight, int dim, float* out) {
  const Tag df;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const Vec s = hn::Set(df, scale);
  int i = 0;
  for (; i + lanes <= dim; i += lanes) {
    const Vec y = hn::Mul(hn::Mul(hn::LoadU(df, x + i), s), hn::LoadU(df, weight + i));
    hn::StoreU(y, df, out + i);
  }
  for (; i < dim; ++i) out[i] = x[i] * scale * weight[i];
}

void RmsNorm(const RmsNormParams& params, int part, int parts) {
  const Range rows = Partition(params.rows, part, parts);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int group = 0; group < params.groups; ++group) {
      const int64_t offset = static_cast<int64_t>(group) * params.dim;
      const float* x = params.x + row * params.x_stride + offset;
      if (params.residual != nullptr) {
        float* residual = params.residual + row * params.residual_stride + offset;
        AddInto(x, residual, params.dim);
        x = residual;
      }
      if (params.out == nullptr) continue;
      const float mean = SumOfSquares(x, params.dim) / static_cast<float>(params.dim);
      ScaleRow(x, 1.0f / std::sqrt(mean + params.eps), params.weight, params.dim,
               params.out + row * params.out_stride + offset);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(RmsNorm);

void RmsNormCpu(const RmsNormParams& params, int part, int parts) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(params, part, parts);
}

}  // namespace baton::kernels
#endif  // HWY_ONCE
