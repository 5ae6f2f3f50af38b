#include "tests/bench/layer_gpu/products.h"

#include <cmath>

#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr size_t kFlushBytes = size_t{128} << 20;

// Outputs of about unit size for inputs of unit size.
float Sigma(const GemmShape& shape) { return 1.0f / std::sqrt(static_cast<float>(shape.k)); }

class F16Product : public LayerProduct {
 public:
  F16Product(const ProductContext& context, const GemmShape& shape, int copies)
      : context_(context),
        shape_(shape),
        count_(static_cast<size_t>(shape.n) * shape.k),
        weights_(2 * count_ * copies) {
    FillActivations(kLayerType, weights_.data(), count_ * copies, Sigma(shape), 3);
  }

  cudaError_t Run(int copy, const ProductInput& in, void* out, int m,
                  cudaStream_t stream) override {
    return cuda::GemmF16(context_.lt(), Params(copy, in, out, m, stream));
  }
  cudaError_t Prepare(const ProductInput& in, void* out, int m, cudaStream_t stream) override {
    return context_.lt().Tune(Params(0, in, out, m, stream), context_.tuning());
  }

 private:
  cuda::GemmF16Params Params(int copy, const ProductInput& in, void* out, int m,
                             cudaStream_t stream) const {
    return {.m = m,
            .n = shape_.n,
            .k = shape_.k,
            .type = kLayerType,
            .a = in.a,
            .lda = shape_.k,
            .w = static_cast<const uint16_t*>(weights_.data()) + count_ * copy,
            .out = out,
            .ldo = shape_.n,
            .stream = stream};
  }

  const ProductContext& context_;
  GemmShape shape_;
  size_t count_;
  cuda::DeviceBytes weights_;
};

class Fp8Product : public LayerProduct {
 public:
  Fp8Product(const ProductContext& context, const GemmShape& shape, int copies)
      : context_(context),
        shape_(shape),
        count_(static_cast<size_t>(shape.n) * shape.k),
        weights_(count_ * copies),
        scales_(shape.n) {
    FillE4m3(weights_.data(), count_ * copies, 3);  // deviation 64
    FillFloats(scales_.data(), shape.n, 0.9f * Sigma(shape) / 64, 1.1f * Sigma(shape) / 64, 4);
  }

  cudaError_t Run(int copy, const ProductInput& in, void* out, int m,
                  cudaStream_t stream) override {
    return cuda::GemmFp8Large(context_.lt(), Params(copy, in, out, m, stream));
  }
  cudaError_t Prepare(const ProductInput& in, void* out, int m, cudaStream_t stream) override {
    return context_.lt().Tune(Params(0, in, out, m, stream), context_.tuning());
  }

 private:
  cuda::GemmFp8Params Params(int copy, const ProductInput& in, void* out, int m,
                             cudaStream_t stream) const {
    return {.m = m,
            .n = shape_.n,
            .k = shape_.k,
            .mode = cuda::Fp8Mode::kFastAccum,
            .a = in.fp8.codes,
            .a_scale = in.fp8.scale,
            .w = static_cast<const uint8_t*>(weights_.data()) + count_ * copy,
            .w_scale = scales_.data(),
            .type = kLayerType,
            .out = out,
            .ldo = shape_.n,
            .stream = stream};
  }

  const ProductContext& context_;
  GemmShape shape_;
  size_t count_;
  cuda::DeviceBytes weights_;
  cuda::DeviceArray<float> scales_;
};

}  // namespace

const char* Name(Precision precision) {
  switch (precision) {
    case Precision::kFp16:
      return "fp16";
    case Precision::kW8A8Fp8:
      return "w8a8_fp8";
  }
  return "?";
}

double BytesPerWeight(Precision precision) {
  switch (precision) {
    case Precision::kFp16:
      return 2.0;
    case Precision::kW8A8Fp8:
      return 1.0;
  }
  return 0.0;
}

ProductContext::ProductContext(const cuda::DeviceTraits& device)
    : device_(device), workspace_(cuda::CublasLt::kWorkspaceBytes), flush_(kFlushBytes) {
  cuda::OrAbort(cuda::CublasLt::Create(workspace_.data(), workspace_.bytes(), &lt_), "cuBLASLt");
}

cuda::LtTuning ProductContext::tuning() const {
  return {.flush = flush_.data(), .flush_bytes = flush_.bytes(), .widen = true};
}

std::unique_ptr<LayerProduct> MakeProduct(const ProductContext& context, Precision precision,
                                          const GemmShape& shape, int copies) {
  switch (precision) {
    case Precision::kFp16:
      return std::make_unique<F16Product>(context, shape, copies);
    case Precision::kW8A8Fp8:
      return std::make_unique<Fp8Product>(context, shape, copies);
  }
  return nullptr;
}

}  // namespace baton::bench
