#include "common/calibrate/float_layer.h"

#include <algorithm>
#include <string_view>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"

namespace baton {
namespace {

constexpr std::string_view kSuffix = ".weight";

std::vector<float> LoadVector(const Checkpoint& checkpoint, WeightKind kind, int layer) {
  return LoadMatrix(checkpoint, kind, layer).values;
}

bool HasBias(const ModelConfig& config, Linear linear) {
  switch (linear) {
    case Linear::kQ:
    case Linear::kK:
    case Linear::kV:
      return config.qkv_bias;
    case Linear::kO:
      return config.output_bias;
    case Linear::kGate:
    case Linear::kUp:
    case Linear::kDown:
      return config.mlp_bias;
  }
  return false;
}

}  // namespace

WeightKind KindOf(Linear linear) {
  constexpr std::array kKinds = {WeightKind::kQ,   WeightKind::kK,    WeightKind::kV,
                                 WeightKind::kO,   WeightKind::kGate, WeightKind::kUp,
                                 WeightKind::kDown};
  return kKinds[static_cast<size_t>(linear)];
}

std::optional<WeightKind> BiasKindOf(Linear linear) {
  constexpr std::array kKinds = {WeightKind::kQBias,   WeightKind::kKBias,    WeightKind::kVBias,
                                 WeightKind::kOBias,   WeightKind::kGateBias, WeightKind::kUpBias,
                                 WeightKind::kDownBias};
  return kKinds[static_cast<size_t>(linear)];
}

std::string ModuleOf(Linear linear, int layer) {
  const std::string name = WeightName(KindOf(linear), layer);
  BATON_CHECK(name.ends_with(kSuffix));
  return name.substr(0, name.size() - kSuffix.size());
}

std::string ShortNameOf(Linear linear) {
  const std::string module = ModuleOf(linear, 0);
  return module.substr(std::string_view("model.layers.0.").size());
}

Matrix LoadMatrix(const Checkpoint& checkpoint, WeightKind kind, int layer) {
  const TensorView& tensor = checkpoint.Get(kind, layer);
  const bool vector = tensor.shape.size() == 1;
  Matrix matrix(vector ? 1 : tensor.shape[0], vector ? tensor.shape[0] : tensor.shape[1]);
  ToFloat(tensor, 0, matrix.rows * matrix.cols, matrix.values.data());
  return matrix;
}

absl::StatusOr<Matrix> EmbedTokens(const Checkpoint& checkpoint, std::span<const int32_t> tokens) {
  const Matrix table = LoadMatrix(checkpoint, WeightKind::kEmbedding, -1);
  Matrix hidden(static_cast<int64_t>(tokens.size()), table.cols);
  for (int64_t i = 0; i < hidden.rows; ++i) {
    const int32_t token = tokens[static_cast<size_t>(i)];
    if (token < 0 || token >= table.rows) {
      return InvalidArgument("calibration token: {}, expected 0 to {}", token, table.rows - 1);
    }
    std::copy(table.Row(token).begin(), table.Row(token).end(), hidden.Row(i).begin());
  }
  return hidden;
}

FloatLayer LoadFloatLayer(const Checkpoint& checkpoint, int layer) {
  const ModelConfig& config = checkpoint.config();
  FloatLayer loaded;
  loaded.input_norm = LoadVector(checkpoint, WeightKind::kInputNorm, layer);
  loaded.post_attention_norm = LoadVector(checkpoint, WeightKind::kPostAttentionNorm, layer);
  if (config.qk_norm) {
    loaded.q_norm = LoadVector(checkpoint, WeightKind::kQNorm, layer);
    loaded.k_norm = LoadVector(checkpoint, WeightKind::kKNorm, layer);
  }
  for (const Linear linear : kAllLinears) {
    loaded[linear].weight = LoadMatrix(checkpoint, KindOf(linear), layer);
    if (HasBias(config, linear)) {
      loaded[linear].bias = LoadVector(checkpoint, *BiasKindOf(linear), layer);
    }
  }
  return loaded;
}

}  // namespace baton
