#include "common/calibrate/layer_pass.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "common/base/status.h"
#include "common/calibrate/cache_factors.h"
#include "common/calibrate/layer_quantizer.h"
#include "common/runner/cpu/cpu_runner.h"

namespace baton {
namespace {

constexpr int64_t kWindow = 24;

class TinyLayers : public ::testing::Test {
 protected:
  void SetUp() override {
    auto checkpoint = Checkpoint::Open(BATON_TINY_MODEL);
    ASSERT_TRUE(checkpoint.ok());
    checkpoint_ = std::make_unique<Checkpoint>(*std::move(checkpoint));
    std::mt19937 random(7);
    for (int64_t i = 0; i < 9 * kWindow; ++i) {  // more than one chunk
      tokens_.push_back(static_cast<int32_t>(random() % 4000));
    }
    const Matrix table = LoadMatrix(*checkpoint_, WeightKind::kEmbedding, -1);
    embedded_ = Matrix(static_cast<int64_t>(tokens_.size()), table.cols);
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const auto row = table.Row(tokens_[i]);
      std::copy(row.begin(), row.end(), embedded_.Row(static_cast<int64_t>(i)).begin());
    }
  }

  LayerPass Pass() const { return LayerPass(checkpoint_->config(), kWindow, Serial()); }
  Matrix After(const FloatLayer& layer, Matrix hidden) const {
    LayerPass pass = Pass();
    pass.Attention(layer, {}, true, hidden);
    pass.Mlp(layer, {}, true, hidden);
    return hidden;
  }

  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<int32_t> tokens_;
  Matrix embedded_;
};

double RelativeDifference(const Matrix& a, const Matrix& b) {
  double difference = 0;
  double power = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    difference += std::pow(a.values[i] - b.values[i], 2.0);
    power += std::pow(b.values[i], 2.0);
  }
  return std::sqrt(difference / power);
}

// The engine computes the same log-probabilities, but for its fp16 cache.
TEST_F(TinyLayers, PassIsTheEnginesForwardPass) {
  Matrix hidden = embedded_;
  const ModelConfig& config = checkpoint_->config();
  for (int i = 0; i < config.layers; ++i) hidden = After(LoadFloatLayer(*checkpoint_, i), hidden);
  ThreadPool pool(1);
  auto model = LoadCpuModel(*checkpoint_, {.format = WeightFormat::kFp32}, pool);
  ASSERT_TRUE(model.ok());
  auto runner = CpuRunner::Create(*model, {.resident = {}, .page_count = 2});
  ASSERT_TRUE(runner.ok());
  const std::vector<int32_t> pages = {0, 1};
  const Matrix table = LoadMatrix(*checkpoint_, WeightKind::kEmbedding, -1);
  const Matrix norm = LoadMatrix(*checkpoint_, WeightKind::kFinalNorm, -1);
  for (const int64_t sequence : {0, 8}) {
    const std::span<const int32_t> tokens =
        std::span(tokens_).subspan(static_cast<size_t>(sequence * kWindow), kWindow);
    const auto scores = (*runner)->Score(tokens, pages);
    ASSERT_TRUE(scores.ok());
    for (int64_t t = 0; t + 1 < kWindow; ++t) {
      std::span<const float> x = std::as_const(hidden).Row(sequence * kWindow + t);
      double square = 0;
      for (const float value : x) square += static_cast<double>(value) * value;
      const double scale =
          1.0 / std::sqrt(square / static_cast<double>(x.size()) + config.norm_epsilon);
      double sum = 0;
      double chosen = 0;
      for (int64_t v = 0; v < table.rows; ++v) {
        double logit = 0;
        for (int64_t j = 0; j < table.cols; ++j) {
          logit += x[static_cast<size_t>(j)] * scale * norm.values[static_cast<size_t>(j)] *
                   table.At(v, j);
        }
        sum += std::exp(logit);
        if (v == tokens[static_cast<size_t>(t + 1)]) chosen = logit;
      }
      EXPECT_NEAR((*scores)[static_cast<size_t>(t)], chosen - std::log(sum), 0.02) << t;
    }
  }
}

TEST_F(TinyLayers, VisitorsSeeEveryInputOnce) {
  const FloatLayer layer = LoadFloatLayer(*checkpoint_, 0);
  LayerPass pass = Pass();
  int64_t rows[4] = {};
  const auto count = [&](int i) {
    return [&rows, i](const SeenInputs& inputs) {
      EXPECT_EQ(inputs.first_sequence * kWindow, rows[i]);
      rows[i] += inputs.rows;
    };
  };
  Matrix hidden = embedded_;
  pass.Attention(layer, {.qkv = count(0), .o = count(1)}, false, hidden);
  EXPECT_EQ(hidden.values, embedded_.values);  // nothing advanced
  pass.Mlp(layer, {.gate_up = count(2), .down = count(3)}, false, hidden);
  for (const int64_t seen : rows) EXPECT_EQ(seen, embedded_.rows);
}

TEST_F(TinyLayers, CacheFactorsLeaveTheOutputAsItWas) {
  FloatLayer layer = LoadFloatLayer(*checkpoint_, 1);
  const Matrix before = After(layer, embedded_);
  const ModelConfig& config = checkpoint_->config();
  CacheFactors factors;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0.2f, 5.0f);
  const int64_t dim = config.head_dim;
  for (int64_t i = 0; i < config.kv_heads * dim; ++i) {
    const bool second = i % dim >= dim / 2;  // shares the factor of its pair
    factors.k.push_back(second ? factors.k[static_cast<size_t>(i - dim / 2)] : uniform(random));
    factors.v.push_back(uniform(random));
  }
  FoldCacheFactors(config, factors, layer);
  EXPECT_LT(RelativeDifference(After(layer, embedded_), before), 1e-5);
  // The cache itself did change.
  EXPECT_NE(layer[Linear::kK].weight.values,
            LoadFloatLayer(*checkpoint_, 1)[Linear::kK].weight.values);
}

TEST_F(TinyLayers, CacheFactorsLowerTheErrorOfAnInt4Cache) {
  const FloatLayer layer = LoadFloatLayer(*checkpoint_, 2);
  LayerPass pass = Pass();
  CacheFactors factors;
  pass.Attention(layer,
                 {.cache =
                      [&](const SeenAttention& seen) {
                        if (seen.first_sequence > 0) return;
                        factors = SearchCacheFactors(pass, layer, seen, 4, Serial());
                      }},
                 false, embedded_);
  EXPECT_LT(factors.k_error, factors.k_plain);
  EXPECT_LE(factors.v_error, factors.v_plain);
  const int64_t dim = checkpoint_->config().head_dim;
  for (size_t i = 0; i < factors.k.size(); ++i) {
    const size_t pair = i % dim < static_cast<size_t>(dim / 2) ? i + dim / 2 : i - dim / 2;
    EXPECT_EQ(factors.k[i], factors.k[pair]);
  }
}

// Every scaling of every recipe, with the matrices kept as they are.
TEST_F(TinyLayers, ScalingInputsLeavesTheOutputAsItWas) {
  const FloatLayer layer = LoadFloatLayer(*checkpoint_, 3);
  const Matrix before = After(layer, embedded_);
  const ModelConfig& config = checkpoint_->config();
  for (const char* algorithm : {"awq", "smoothquant"}) {
    auto recipe = MakeRecipe({.scheme = "w4a8", .algorithm = algorithm, .alpha = 0.5f});
    ASSERT_TRUE(recipe.ok());
    LayerSamples samples{{config.hidden_size, embedded_.rows, 64},
                         {config.hidden_size, embedded_.rows, 64},
                         {config.intermediate_size, embedded_.rows, 64}};
    LayerPass pass = Pass();
    Matrix stream = embedded_;
    pass.Attention(layer, {.qkv = samples.qkv.Visitor()}, true, stream);
    pass.Mlp(layer, {.gate_up = samples.gate_up.Visitor(), .down = samples.down.Visitor()}, false,
             stream);
    // Norms are stored as bf16: their factors must make up for that rounding too. The matrices are
    // judged before they would be rounded to bf16, so they are kept in fp32.
    LayerPlan plan;
    plan.fill({.keep = true, .spec = {}, .activations = {}});
    const Parallel serial = Serial();
    LayerQuantizer quantizer(*recipe, kernels::ScalarType::kFp32, pass, embedded_, 8, serial);
    const auto made = quantizer.Quantize(layer, samples, plan);
    ASSERT_TRUE(made.ok());
    int used = 0;
    for (const FoldReport& fold : made->folds) used += !fold.choice.identity;
    EXPECT_GT(used, 0) << algorithm;
    EXPECT_LT(RelativeDifference(After(made->values, embedded_), before), 1e-5) << algorithm;
  }
}

TEST_F(TinyLayers, WeightsThatAreNotFiniteAreRefusedByName) {
  FloatLayer layer = LoadFloatLayer(*checkpoint_, 0);
  layer[Linear::kUp].weight.At(3, 4) = std::numeric_limits<float>::infinity();
  const auto recipe = MakeRecipe({.scheme = "w4a16", .algorithm = "rtn"});
  ASSERT_TRUE(recipe.ok());
  LayerPass pass = Pass();
  const Parallel serial = Serial();
  LayerQuantizer quantizer(*recipe, kernels::ScalarType::kBf16, pass, embedded_, 8, serial);
  LayerPlan plan;
  plan.fill(recipe->BasePlan());
  const ModelConfig& config = checkpoint_->config();
  const LayerSamples samples{
      {config.hidden_size, 0, 1}, {config.hidden_size, 0, 1}, {config.intermediate_size, 0, 1}};
  const auto made = quantizer.Quantize(layer, samples, plan);
  EXPECT_EQ(MessageOf(made.status()), "mlp.up_proj: weight inf, expected finite values");
}

}  // namespace
}  // namespace baton
