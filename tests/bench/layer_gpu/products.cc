#include "tests/bench/layer_gpu/products.h"

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/numeric/formats.h"
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
    return cuda::GemmFp8(context_.lt(), Params(copy, in, out, m, stream),
                         context_.device().sm_count);
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

// Symmetric groups of 128 with fp16 scales.
class W4A16Product : public LayerProduct {
 public:
  W4A16Product(const ProductContext& context, const GemmShape& shape, int copies)
      : context_(context),
        shape_(shape),
        layout_{.n = shape.n, .k = shape.k, .group = 128},
        tiles_(layout_.bytes() * copies) {
    const std::vector<uint8_t> tiles = RandomTiles();
    for (int copy = 0; copy < copies; ++copy) {
      cuda::OrAbort(cudaMemcpy(static_cast<uint8_t*>(tiles_.data()) + tiles.size() * copy,
                               tiles.data(), tiles.size(), cudaMemcpyHostToDevice),
                    "weights");
    }
  }

  cudaError_t Run(int copy, const ProductInput& in, void* out, int m,
                  cudaStream_t stream) override {
    return cuda::GemmW4A16(Params(copy, in, out, m, stream));
  }
  cudaError_t Prepare(const ProductInput& in, void* out, int m, cudaStream_t stream) override {
    workspace_ = cuda::DeviceBytes(cuda::GemmW4A16Workspace(Params(0, in, out, m, stream)));
    return cudaSuccess;
  }

 private:
  std::vector<uint8_t> RandomTiles() const {
    std::vector<uint8_t> tiles(layout_.bytes());
    std::mt19937_64 random(5);
    for (size_t i = 0; i + 8 <= tiles.size(); i += 8) {
      const uint64_t word = random();
      std::memcpy(tiles.data() + i, &word, sizeof(word));
    }
    // Uniform codes have deviation 4.6.
    const uint16_t scale = kernels::Fp16FromFloat(Sigma(shape_) / 4.6f);
    const size_t tile_bytes = layout_.tile_bytes();
    for (size_t tile = 0; tile < tiles.size(); tile += tile_bytes) {
      for (size_t at = kernels::Int4TileLayout::kCodeBytes; at < tile_bytes; at += 2) {
        std::memcpy(tiles.data() + tile + at, &scale, sizeof(scale));
      }
    }
    return tiles;
  }
  cuda::GemmW4A16Params Params(int copy, const ProductInput& in, void* out, int m,
                               cudaStream_t stream) const {
    return {.m = m,
            .layout = layout_,
            .tiles = static_cast<const uint8_t*>(tiles_.data()) + layout_.bytes() * copy,
            .type = kLayerType,
            .a = in.a,
            .lda = shape_.k,
            .out = out,
            .ldo = shape_.n,
            .workspace = workspace_.data(),
            .workspace_bytes = workspace_.bytes(),
            .sm_count = context_.device().sm_count,
            .stream = stream};
  }

  const ProductContext& context_;
  GemmShape shape_;
  kernels::Int4TileLayout layout_;
  cuda::DeviceBytes tiles_;
  cuda::DeviceBytes workspace_;
};

}  // namespace

const char* Name(Precision precision) {
  switch (precision) {
    case Precision::kFp16:
      return "fp16";
    case Precision::kW8A8Fp8:
      return "w8a8_fp8";
    case Precision::kW4A16:
      return "w4a16";
  }
  return "?";
}

double BytesPerWeight(Precision precision) {
  switch (precision) {
    case Precision::kFp16:
      return 2.0;
    case Precision::kW8A8Fp8:
      return 1.0;
    case Precision::kW4A16:
      return 0.5 + 2.0 / 128;  // codes, and a scale a group
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
    case Precision::kW4A16:
      return std::make_unique<W4A16Product>(context, shape, copies);
  }
  return nullptr;
}

}  // namespace baton::bench
