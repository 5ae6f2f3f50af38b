#include "tests/bench/layer_gpu/layer.h"

#include <algorithm>
#include <cmath>

#include "kernels/activation/cuda.h"
#include "kernels/norm/cuda.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

enum ProductIndex { kQkv, kO, kGateUp, kDown };

double WeightBytes(const std::vector<GemmShape>& shapes, Precision precision) {
  double bytes = 0.0;
  for (const GemmShape& shape : shapes) bytes += BytesPerWeight(precision) * shape.n * shape.k;
  return bytes;
}

std::vector<GemmShape> LayerShapes(const ModelShape& model) {
  std::vector<GemmShape> shapes = model.products();
  shapes.resize(kDown + 1);  // without the head
  return shapes;
}

}  // namespace

DecoderLayer::DecoderLayer(GpuBench& bench, const LayerCase& layer)
    : bench_(bench),
      case_(layer),
      fp8_(layer.precision == Precision::kW8A8Fp8),
      shapes_(LayerShapes(bench.options().model)),
      copies_(std::max(2, GpuBench::CopiesFor(WeightBytes(shapes_, layer.precision)))),
      context_(bench.device()) {
  const ModelShape& model = bench.options().model;
  for (const GemmShape& shape : shapes_) {
    products_.push_back(MakeProduct(context_, layer.precision, shape, copies_));
  }
  attention_ = std::make_unique<AttentionStep>(
      bench, AttentionShape{.model = model,
                            .kv = layer.kv,
                            .type = kLayerType,
                            .prefill = layer.prefill,
                            .sequences = layer.prefill ? 1 : layer.rows,
                            .context = layer.context,
                            .copies = copies_});
  const size_t row = size_t{2} * layer.rows;
  norm_weight_ = cuda::DeviceBytes(size_t{2} * model.hidden);
  FillActivations(kLayerType, norm_weight_.data(), model.hidden, 0.5f, 1);
  for (cuda::DeviceBytes* hidden : {&residual_, &x_, &normed_, &projected_}) {
    *hidden = cuda::DeviceBytes(row * model.hidden);
    FillActivations(kLayerType, hidden->data(), row / 2 * model.hidden, 1.0f, 2);
  }
  qkv_ = cuda::DeviceBytes(row * shapes_[kQkv].n);
  attended_ = cuda::DeviceBytes(row * shapes_[kO].k);
  gate_up_ = cuda::DeviceBytes(row * shapes_[kGateUp].n);
  act_ = cuda::DeviceBytes(row * shapes_[kDown].k);
  const int widest = std::max(model.hidden, shapes_[kDown].k);
  codes_ = cuda::DeviceBytes(static_cast<size_t>(layer.rows) * widest);
  scales_ = cuda::DeviceArray<float>(layer.rows);
  for (cuda::DeviceBytes* buffer : {&qkv_, &attended_, &gate_up_, &act_}) {
    FillActivations(kLayerType, buffer->data(), buffer->bytes() / 2, 1.0f, 3);
  }
  FillE4m3(codes_.data(), codes_.bytes(), 4);
  FillFloats(scales_.data(), layer.rows, 0.01f, 0.02f, 5);
  cuda::OrAbort(cudaDeviceSynchronize(), "layer setup");
}

double DecoderLayer::weight_bytes() const { return WeightBytes(shapes_, case_.precision); }

double DecoderLayer::product_flops() const {
  double flops = 0.0;
  for (const GemmShape& shape : shapes_) flops += 2.0 * case_.rows * shape.n * shape.k;
  return flops;
}

cuda::Fp8Rows DecoderLayer::Fp8(const cuda::DeviceBytes& codes) const {
  if (!fp8_) return {};
  return {static_cast<uint8_t*>(codes.data()), scales_.data()};
}

LayerStep DecoderLayer::NormStep(const char* name, const cuda::DeviceBytes& in) {
  return {name, [this, &in](int, cudaStream_t stream) {
            const int hidden = bench_.options().model.hidden;
            return cuda::RmsNorm({.type = kLayerType,
                                  .x = in.data(),
                                  .x_stride = hidden,
                                  .residual = residual_.data(),
                                  .weight = norm_weight_.data(),
                                  .out = fp8_ ? nullptr : normed_.data(),
                                  .fp8 = Fp8(codes_),
                                  .rows = case_.rows,
                                  .dim = hidden,
                                  .stream = stream});
          }};
}

LayerStep DecoderLayer::ProductStep(int index, const ProductInput& in,
                                    const cuda::DeviceBytes& out) {
  return {shapes_[index].name, [this, index, in, &out](int copy, cudaStream_t stream) {
            return products_[index]->Run(copy, in, out.data(), case_.rows, stream);
          }};
}

std::vector<LayerStep> DecoderLayer::Steps() {
  const auto input = [&](const cuda::DeviceBytes& a) {
    return ProductInput{.a = a.data(), .fp8 = Fp8(codes_)};
  };
  std::vector<LayerStep> steps;
  steps.push_back(NormStep("norm", x_));
  steps.push_back(ProductStep(kQkv, input(normed_), qkv_));
  steps.push_back({"rope_write", [this](int copy, cudaStream_t stream) {
                     return attention_->Write(copy, qkv_.data(), stream);
                   }});
  steps.push_back({"attention", [this](int copy, cudaStream_t stream) {
                     return attention_->Attend(copy, qkv_.data(), attended_.data(), stream);
                   }});
  if (fp8_) {
    steps.push_back({"quantize", [this](int, cudaStream_t stream) {
                       return cuda::QuantizeFp8Rows({.type = kLayerType,
                                                     .x = attended_.data(),
                                                     .x_stride = shapes_[kO].k,
                                                     .out = Fp8(codes_),
                                                     .rows = case_.rows,
                                                     .dim = shapes_[kO].k,
                                                     .stream = stream});
                     }});
  }
  steps.push_back(ProductStep(kO, input(attended_), projected_));
  steps.push_back(NormStep("norm", projected_));
  steps.push_back(ProductStep(kGateUp, input(normed_), gate_up_));
  steps.push_back({"swiglu", [this](int, cudaStream_t stream) {
                     const int ffn = shapes_[kDown].k;
                     return cuda::SwiGlu({.type = kLayerType,
                                          .gate = gate_up_.data(),
                                          .up = static_cast<const uint16_t*>(gate_up_.data()) + ffn,
                                          .in_stride = 2 * ffn,
                                          .out = fp8_ ? nullptr : act_.data(),
                                          .fp8 = Fp8(codes_),
                                          .rows = case_.rows,
                                          .dim = ffn,
                                          .stream = stream});
                   }});
  steps.push_back(ProductStep(kDown, input(act_), x_));
  return steps;
}

std::string DecoderLayer::Prepare() {
  const cuda::DeviceBytes* in[] = {&normed_, &attended_, &normed_, &act_};
  const cuda::DeviceBytes* out[] = {&qkv_, &projected_, &gate_up_, &x_};
  for (size_t i = 0; i < products_.size(); ++i) {
    if (products_[i] == nullptr) return "no kernel for this precision";
    const cudaError_t error = products_[i]->Prepare({.a = in[i]->data(), .fp8 = Fp8(codes_)},
                                                    out[i]->data(), case_.rows, bench_.stream());
    if (error != cudaSuccess) return shapes_[i].name + ": " + cudaGetErrorString(error);
  }
  return {};
}

bool DecoderLayer::Finite() const {
  std::vector<uint16_t> codes(residual_.bytes() / 2);
  residual_.CopyTo(codes.data());
  for (const float x : cuda::FromActivations(kLayerType, codes)) {
    if (!std::isfinite(x)) return false;
  }
  return true;
}

}  // namespace baton::bench
