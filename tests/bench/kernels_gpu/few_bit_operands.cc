#include "tests/bench/kernels_gpu/few_bit_operands.h"

#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {

namespace cuda = kernels::cuda;

namespace {

constexpr int kGroup = 128;

kernels::Int4TileLayout LayoutOf(const GemmShape& shape) {
  return {.n = shape.n, .k = shape.k, .group = kGroup};
}

}  // namespace

Int4Operands::Int4Operands(const GemmShape& shape, int max_m)
    : layout_(LayoutOf(shape)),
      operands_(shape, max_m,
                static_cast<double>(layout_.bytes()) / (static_cast<double>(shape.n) * shape.k)) {
  cuda::OrAbort(operands_.weight_bytes() >= layout_.bytes() ? cudaSuccess : cudaErrorInvalidValue,
                "bytes of the tiles");
  // Random codes everywhere, then finite scales where the layout has them.
  const size_t tiles = static_cast<size_t>(layout_.row_tiles() * layout_.k_tiles());
  const size_t scale_bytes = static_cast<size_t>(layout_.tile_bytes()) - layout_.kCodeBytes;
  const cuda::DeviceBytes scales(tiles * scale_bytes);
  FillActivations(cuda::ActivationType::kFp16, scales.data(), scales.bytes() / 2, 0.01f, 1);
  for (int copy = 0; copy < copies(); ++copy) {
    auto* data = static_cast<uint8_t*>(operands_.weight(copy));
    FillBytes(data, layout_.bytes(), static_cast<uint32_t>(copy + 2));
    cuda::OrAbort(
        cudaMemcpy2D(data + layout_.kCodeBytes, static_cast<size_t>(layout_.tile_bytes()),
                     scales.data(), scale_bytes, scale_bytes, tiles, cudaMemcpyDeviceToDevice),
        "scales");
  }
  FillActivations(cuda::ActivationType::kFp16, operands_.activations(),
                  static_cast<size_t>(max_m) * shape.k, 1.0f, 3);
  cuda::OrAbort(cudaDeviceSynchronize(), "fill");
}

const uint8_t* Int4Operands::Tiles(int copy) const {
  return static_cast<const uint8_t*>(operands_.weight(copy));
}

cuda::GemmW4A16Params Int4Operands::Params(int m, int sm_count) const {
  return {.m = m,
          .layout = layout_,
          .tiles = Tiles(0),
          .a = operands_.activations(),
          .lda = layout_.k,
          .out = operands_.out(),
          .ldo = layout_.n,
          .sm_count = sm_count};
}

cuda::GemmSize Int4Operands::Size(int m) const {
  return {m, operands_.shape().n, operands_.shape().k, layout_.tile_bytes()};
}

Fp8Operands::Fp8Operands(const GemmShape& shape, int max_m)
    : operands_(shape, max_m, 1.0), a_scale_(max_m), w_scale_(shape.n) {
  FillE4m3(operands_.weight(0), operands_.weight_bytes() * operands_.copies(), 4);
  FillE4m3(operands_.activations(), static_cast<size_t>(max_m) * shape.k, 5);
  FillFloats(a_scale_.data(), a_scale_.size(), 0.005f, 0.01f, 6);
  FillFloats(w_scale_.data(), w_scale_.size(), 0.0001f, 0.0005f, 7);
  cuda::OrAbort(cudaDeviceSynchronize(), "fill");
}

const uint8_t* Fp8Operands::Weights(int copy) const {
  return static_cast<const uint8_t*>(operands_.weight(copy));
}

cuda::GemmFp8Params Fp8Operands::Params(int m, cuda::Fp8Mode mode) const {
  return {.m = m,
          .n = operands_.shape().n,
          .k = operands_.shape().k,
          .mode = mode,
          .a = static_cast<const uint8_t*>(operands_.activations()),
          .a_scale = a_scale_.data(),
          .w = Weights(0),
          .w_scale = w_scale_.data(),
          .out = operands_.out(),
          .ldo = operands_.shape().n};
}

cuda::GemmSize Fp8Operands::Size(int m) const {
  return {.m = m, .n = operands_.shape().n, .k = operands_.shape().k};
}

}  // namespace baton::bench
