// One decoder layer as the list of launches of a forward pass, for several layers' weights and KV.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/bench/layer_gpu/attention_step.h"
#include "tests/bench/layer_gpu/products.h"

namespace baton::bench {

struct LayerCase {
  Precision precision = Precision::kFp16;
  kernels::KvFormats kv;
  bool prefill = false;  // one sequence of `rows` new tokens; else one token of each of `rows`
  int rows = 0;
  int context = 0;  // tokens of each sequence, the new ones included; for prefill equal to rows
};

struct LayerStep {
  std::string name;
  BenchCall call;  // `copy`: which layer's weights and KV
};

class DecoderLayer {
 public:
  DecoderLayer(GpuBench& bench, const LayerCase& layer);

  // Layers whose weights and KV add up to more than 200 MB.
  int copies() const { return copies_; }
  // In order. Where the precision quantizes activations, the quantization is part of the step that
  // makes them, or a step of its own behind attention.
  std::vector<LayerStep> Steps();
  // Chooses algorithms of the products. The text of an error, or empty.
  std::string Prepare();
  // Whether the residual stream is finite after what ran so far.
  bool Finite() const;

  double weight_bytes() const;                             // of one layer, scales included
  double kv_bytes() const { return attention_->bytes(); }  // read by one layer
  double product_flops() const;

 private:
  kernels::cuda::Fp8Rows Fp8(const kernels::cuda::DeviceBytes& codes) const;
  LayerStep NormStep(const char* name, const kernels::cuda::DeviceBytes& in);
  LayerStep ProductStep(int index, const ProductInput& in, const kernels::cuda::DeviceBytes& out);

  GpuBench& bench_;
  LayerCase case_;
  bool fp8_;
  std::vector<GemmShape> shapes_;  // qkv, o, gate_up, down
  int copies_;
  ProductContext context_;
  std::vector<std::unique_ptr<LayerProduct>> products_;
  std::unique_ptr<AttentionStep> attention_;
  kernels::cuda::DeviceBytes norm_weight_;
  kernels::cuda::DeviceBytes residual_, x_, normed_, qkv_, attended_, projected_, gate_up_, act_;
  kernels::cuda::DeviceBytes
      codes_;  // FP8 of the widest activations; free again after each product
  kernels::cuda::DeviceArray<float> scales_;
};

}  // namespace baton::bench
