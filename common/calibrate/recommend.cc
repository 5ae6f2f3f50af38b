#include "common/calibrate/recommend.h"

#include <algorithm>
#include <chrono>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/calibrate/layer_file.h"
#include "common/quant/algorithms/nearest.h"
#include "common/quant/weight_format.h"
#include "kernels/gemm/gemm.h"
#include "kernels/quantize/quantize.h"

namespace baton {
namespace {

constexpr int kRepeats = 9;  // the quickest counts: what disturbs only adds
constexpr double kAsGood = 1.1;

kernels::PackedWeight PackUnit(const FloatLayer& layer, Unit unit, const Recipe& recipe,
                               const Parallel& parallel) {
  std::vector<CodedMatrix> coded;
  std::vector<kernels::WeightView> views;
  for (const Linear linear : LinearsOf(unit)) {
    const Matrix& weight = layer[linear].weight;
    CodeSpec spec = recipe.weights;
    if (spec.group != 0) spec.group = GroupFor(weight.cols, static_cast<int>(spec.group));
    coded.push_back(RoundToNearest(weight, spec, {}, {}, parallel));
  }
  for (const CodedMatrix& c : coded) {
    kernels::WeightView view;
    view.n = c.rows;
    view.k = c.cols;
    view.codes_type = c.spec.symmetric ? kernels::CodeType::kInt8 : kernels::CodeType::kUint4;
    view.codes = reinterpret_cast<const int8_t*>(c.codes.data());
    view.scales = c.scales.data();
    view.scale_type = kernels::ScalarType::kFp32;
    view.zeros = c.zeros.empty() ? nullptr : c.zeros.data();
    view.group = c.group;
    views.push_back(view);
  }
  const kernels::WeightScheme scheme = !recipe.activations        ? kernels::WeightScheme::kW4A16
                                       : recipe.weights.bits == 8 ? kernels::WeightScheme::kW8A8
                                                                  : kernels::WeightScheme::kW4A8;
  BATON_CHECK(kernels::PackProblem(views, scheme).empty());
  return kernels::Pack(views, scheme);
}

// The product of `batch` rows with one packed matrix.
class Product {
 public:
  Product(kernels::PackedWeight weight, int64_t batch)
      : weight_(std::move(weight)),
        batch_(batch),
        x_(batch, weight_.k()),
        out_(batch, weight_.n()),
        stride_(kernels::PaddedActivations(weight_.k())),
        codes_(static_cast<size_t>(batch * stride_)),
        scales_(static_cast<size_t>(batch)),
        sums_(static_cast<size_t>(batch * stride_ / kernels::kActivationBlock)) {
    for (size_t i = 0; i < x_.values.size(); ++i) {
      x_.values[i] = static_cast<float>(i * 2654435761u % 2001) / 1000.0f - 1.0f;
    }
  }

  void Run(const Parallel& parallel) {
    kernels::GemmParams params{
        .m = batch_, .w = &weight_, .out = out_.values.data(), .ldo = out_.cols};
    if (kernels::TakesQuantizedActivations(weight_.scheme())) {
      params.quantized = {
          .codes = codes_.data(), .scale = scales_.data(), .sums = sums_.data(), .stride = stride_};
      const kernels::QuantizeParams quantize{.x = x_.values.data(),
                                             .m = batch_,
                                             .k = x_.cols,
                                             .ldx = x_.cols,
                                             .out = params.quantized};
      parallel([&](int part, int parts) { kernels::QuantizeRowsCpu(quantize, part, parts); });
    } else {
      params.a = x_.values.data();
      params.lda = x_.cols;
    }
    parallel([&](int part, int parts) { kernels::GemmCpu(params, part, parts); });
  }

 private:
  kernels::PackedWeight weight_;
  const int64_t batch_;
  Matrix x_;
  Matrix out_;
  const int64_t stride_;
  kernels::AlignedBuffer<int8_t> codes_;
  kernels::AlignedBuffer<float> scales_;
  kernels::AlignedBuffer<int32_t> sums_;
};

double MeasureLayer(const FloatLayer& layer, const Recipe& recipe, int64_t batch,
                    const Parallel& parallel) {
  std::vector<Product> products;
  for (int u = 0; u < kUnits; ++u) {
    products.emplace_back(PackUnit(layer, static_cast<Unit>(u), recipe, parallel), batch);
  }
  const RealClock clock;
  double best = 0;
  for (int i = 0; i <= kRepeats; ++i) {
    const TimePoint start = clock.Now();
    for (Product& product : products) product.Run(parallel);
    const auto time = std::chrono::duration<double, std::micro>(clock.Now() - start).count();
    if (i == 1 || (i > 1 && time < best)) best = time;  // the first warms up
  }
  return best;
}

}  // namespace

std::vector<SchemeCost> MeasureSchemes(const Checkpoint& checkpoint, int64_t batch, LayerPass& pass,
                                       const Matrix& survey, const Parallel& parallel) {
  const FloatLayer layer = LoadFloatLayer(checkpoint, 0);
  std::vector<SchemeCost> costs;
  for (const char* scheme : {"w4a16", "w4a8", "w8a8"}) {
    const auto recipe = MakeRecipe({.scheme = scheme, .algorithm = "rtn"});
    BATON_CHECK(recipe.ok());
    SchemeCost cost{.scheme = scheme};
    cost.microseconds = MeasureLayer(layer, *recipe, batch, parallel);
    double linears = 0;
    for (const UnitCost& unit : Survey(checkpoint, false, &*recipe, pass, survey, parallel).costs) {
      cost.error += unit.base_error;
      linears += static_cast<double>(LinearsOf(unit.unit).size());
    }
    cost.error /= linears;
    costs.push_back(cost);
  }
  return costs;
}

const SchemeCost& Recommended(const std::vector<SchemeCost>& costs) {
  BATON_CHECK(!costs.empty());
  double fastest = costs.front().microseconds;
  for (const SchemeCost& cost : costs) fastest = std::min(fastest, cost.microseconds);
  const SchemeCost* best = nullptr;
  for (const SchemeCost& cost : costs) {
    if (cost.microseconds > kAsGood * fastest) continue;
    if (best == nullptr || cost.error < best->error) best = &cost;
  }
  return *best;
}

}  // namespace baton
