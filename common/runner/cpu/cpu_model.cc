#include "common/runner/cpu/cpu_model.h"

#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "common/quant/round_to_nearest.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::ScalarType;
using kernels::WeightView;

// The parts of one stacked matrix, in row order.
struct Stack {
  std::vector<WeightKind> weights;
  std::vector<WeightKind> biases;  // empty, or one per weight
};

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const LoadOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint), options_(options), pool_(pool) {}

  absl::StatusOr<std::shared_ptr<const CpuModel>> Load() {
    const ModelConfig& config = checkpoint_.config();
    auto model = std::make_shared<CpuModel>();
    model->config = config;
    model->format = options_.format;
    model->inverse_frequencies = InverseFrequencies(config.rope, config.head_dim);
    model->final_norm = Vector(WeightKind::kFinalNorm, -1);
    BATON_ASSIGN_OR_RETURN(model->embedding, Embedding(WeightKind::kEmbedding));
    if (!config.tied_embeddings) {
      BATON_ASSIGN_OR_RETURN(model->lm_head, Embedding(WeightKind::kLmHead));
    }
    for (int layer = 0; layer < config.layers; ++layer) {
      BATON_ASSIGN_OR_RETURN(DecoderLayer loaded, Layer(layer));
      model->layers.push_back(std::move(loaded));
      if (options_.progress) options_.progress(layer + 1, config.layers);
    }
    return std::shared_ptr<const CpuModel>(std::move(model));
  }

 private:
  absl::StatusOr<DecoderLayer> Layer(int index) {
    const ModelConfig& config = checkpoint_.config();
    DecoderLayer layer;
    layer.input_norm = Vector(WeightKind::kInputNorm, index);
    layer.post_attention_norm = Vector(WeightKind::kPostAttentionNorm, index);
    if (config.qk_norm) {
      layer.q_norm = Vector(WeightKind::kQNorm, index);
      layer.k_norm = Vector(WeightKind::kKNorm, index);
    }
    Stack qkv{{WeightKind::kQ, WeightKind::kK, WeightKind::kV}, {}};
    if (config.qkv_bias) {
      qkv.biases = {WeightKind::kQBias, WeightKind::kKBias, WeightKind::kVBias};
    }
    Stack o{{WeightKind::kO}, {}};
    if (config.output_bias) o.biases = {WeightKind::kOBias};
    Stack gate_up{{WeightKind::kGate, WeightKind::kUp}, {}};
    Stack down{{WeightKind::kDown}, {}};
    if (config.mlp_bias) {
      gate_up.biases = {WeightKind::kGateBias, WeightKind::kUpBias};
      down.biases = {WeightKind::kDownBias};
    }
    BATON_ASSIGN_OR_RETURN(layer.qkv, Linear(qkv, index));
    BATON_ASSIGN_OR_RETURN(layer.o, Linear(o, index));
    BATON_ASSIGN_OR_RETURN(layer.gate_up, Linear(gate_up, index));
    BATON_ASSIGN_OR_RETURN(layer.down, Linear(down, index));
    return layer;
  }

  absl::StatusOr<LinearLayer> Linear(const Stack& stack, int layer) {
    const DataType stored = checkpoint_.Get(stack.weights.front(), layer).type;
    LinearLayer linear;
    BATON_ASSIGN_OR_RETURN(linear.weight,
                           Packed(stack.weights, layer, PlanLinear(options_.format, stored)));
    for (const WeightKind kind : stack.biases) {
      const std::vector<float> bias = Vector(kind, layer);
      linear.bias.insert(linear.bias.end(), bias.begin(), bias.end());
    }
    return linear;
  }

  absl::StatusOr<LinearLayer> Embedding(WeightKind kind) {
    const MatrixPlan plan = PlanEmbedding(options_.format, checkpoint_.Get(kind).type);
    LinearLayer linear;
    BATON_ASSIGN_OR_RETURN(linear.weight, Packed({kind}, -1, plan));
    return linear;
  }

  absl::StatusOr<kernels::PackedWeight> Packed(const std::vector<WeightKind>& kinds, int layer,
                                               const MatrixPlan& plan) {
    std::vector<QuantizedMatrix> quantized;
    std::vector<std::vector<float>> copies;
    std::vector<WeightView> views;
    quantized.reserve(kinds.size());
    for (const WeightKind kind : kinds) {
      const TensorView& tensor = checkpoint_.Get(kind, layer);
      if (plan.codes == CodeType::kDense) {
        views.push_back(Dense(kinds, layer, tensor, copies));
      } else {
        quantized.push_back(Quantized(tensor, plan));
        views.push_back(quantized.back().View());
      }
    }
    if (const std::string problem = kernels::PackProblem(views, plan.scheme); !problem.empty()) {
      return FailedPrecondition("tensor '{}': {}", WeightName(kinds.front(), layer), problem);
    }
    return kernels::Pack(views, plan.scheme);
  }

  // The tensor's own bytes where the kernels can read them in place, else an fp32 copy: a file may
  // start its data at any address, and stacked parts must be of one type.
  WeightView Dense(const std::vector<WeightKind>& kinds, int layer, const TensorView& tensor,
                   std::vector<std::vector<float>>& copies) const {
    WeightView view;
    view.n = tensor.shape[0];
    view.k = tensor.shape[1];
    bool in_place = true;
    for (const WeightKind kind : kinds) {
      const TensorView& part = checkpoint_.Get(kind, layer);
      const auto address = reinterpret_cast<uintptr_t>(part.bytes.data());
      in_place = in_place && part.type == tensor.type && address % SizeOf(part.type) == 0;
    }
    if (in_place) {
      view.dense = tensor.bytes.data();
      view.dense_type = tensor.type == DataType::kF32   ? ScalarType::kFp32
                        : tensor.type == DataType::kF16 ? ScalarType::kFp16
                                                        : ScalarType::kBf16;
      return view;
    }
    copies.emplace_back(static_cast<size_t>(view.n * view.k));
    ToFloat(tensor, 0, view.n * view.k, copies.back().data());
    view.dense = copies.back().data();
    return view;
  }

  QuantizedMatrix Quantized(const TensorView& tensor, const MatrixPlan& plan) {
    const int64_t k = tensor.shape[1];
    const int64_t group = plan.group == 0 ? k : GroupFor(k, plan.group);
    if (plan.group != 0 && group != plan.group && noted_.insert(k).second && options_.note) {
      options_.note(fmt::format("matrices with {} columns are quantized in groups of {}, not {}", k,
                                group, plan.group));
    }
    QuantizedMatrix matrix = MakeQuantizedMatrix(tensor.shape[0], k, group, plan.codes);
    pool_.Run([&](int part, int parts) { RoundToNearest(tensor, matrix, part, parts); });
    return matrix;
  }

  std::vector<float> Vector(WeightKind kind, int layer) const {
    const TensorView& tensor = checkpoint_.Get(kind, layer);
    std::vector<float> values(static_cast<size_t>(tensor.shape[0]));
    ToFloat(tensor, 0, tensor.shape[0], values.data());
    return values;
  }

  const Checkpoint& checkpoint_;
  const LoadOptions& options_;
  ThreadPool& pool_;
  std::set<int64_t> noted_;
};

}  // namespace

size_t CpuModel::weight_bytes() const {
  size_t bytes = embedding.weight.bytes() + lm_head.weight.bytes();
  for (const DecoderLayer& layer : layers) {
    for (const LinearLayer* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      bytes += linear->weight.bytes();
    }
  }
  return bytes;
}

absl::StatusOr<std::shared_ptr<const CpuModel>> LoadCpuModel(const Checkpoint& checkpoint,
                                                             const LoadOptions& options,
                                                             ThreadPool& pool) {
  try {
    return Loader(checkpoint, options, pool).Load();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("weights: memory ended while packing as {}", NameOf(options.format));
  }
}

}  // namespace baton
