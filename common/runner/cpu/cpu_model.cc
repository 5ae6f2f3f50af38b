#include "common/runner/cpu/cpu_model.h"

#include <algorithm>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "common/quant/formats/stack_form.h"
#include "common/quant/formats/weight_source.h"
#include "common/quant/round_to_nearest.h"
#include "kernels/gemm/pack.h"

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
  Loader(const Checkpoint& checkpoint, const WeightSource& source, const LoadOptions& options,
         ThreadPool& pool)
      : checkpoint_(checkpoint), source_(source), options_(options), pool_(pool) {}

  absl::StatusOr<std::shared_ptr<const CpuModel>> Load() {
    const ModelConfig& config = checkpoint_.config();
    for (const std::string& note : source_.Notes()) Note(note);
    auto model = std::make_shared<CpuModel>();
    model->config = config;
    model->format = options_.format;
    model->inverse_frequencies = InverseFrequencies(config.rope, config.head_dim);
    model->final_norm = Vector(WeightKind::kFinalNorm, -1);
    BATON_ASSIGN_OR_RETURN(model->embedding, Embedding(WeightKind::kEmbedding));
    if (!config.tied_embeddings) {
      BATON_ASSIGN_OR_RETURN(model->lm_head, OutputHead());
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
    BATON_ASSIGN_OR_RETURN(Loaded loaded, Read(stack.weights, layer));
    BATON_ASSIGN_OR_RETURN(LinearLayer linear,
                           loaded.native
                               ? Native(*std::move(loaded.native), loaded.name)
                               : Packed(loaded, PlanLinear(options_.format, loaded.stored())));
    for (const WeightKind kind : stack.biases) {
      const std::vector<float> bias = Vector(kind, layer);
      linear.bias.insert(linear.bias.end(), bias.begin(), bias.end());
    }
    return linear;
  }

  absl::StatusOr<LinearLayer> OutputHead() {
    BATON_ASSIGN_OR_RETURN(Loaded loaded, Read({WeightKind::kLmHead}, -1));
    if (loaded.native) return Native(*std::move(loaded.native), loaded.name);
    return Packed(loaded, PlanEmbedding(options_.format, loaded.stored()));
  }

  // Looked up by row, so never in the form of a product: codes are dequantized and rounded to fp16.
  absl::StatusOr<LinearLayer> Embedding(WeightKind kind) {
    BATON_ASSIGN_OR_RETURN(Loaded loaded, Read({kind}, -1, false));
    if (loaded.native) {
      loaded.native->scheme = kernels::WeightScheme::kFp16;
      return Native(*std::move(loaded.native), loaded.name);
    }
    return Packed(loaded, PlanEmbedding(options_.format, loaded.stored()));
  }

  // The parts of one product: in the form they are served in, or as floating tensors.
  struct Loaded {
    std::string name;  // of the first tensor
    std::optional<StackForm> native;
    std::vector<TensorView> tensors;
    std::vector<std::vector<float>> dequantized;  // what `tensors` do not borrow from the file
    DataType stored() const { return tensors.front().type; }
  };

  absl::StatusOr<Loaded> Read(const std::vector<WeightKind>& kinds, int layer,
                              bool gather_allowed = true) {
    const RunParts run = [this](const auto& work) { pool_.Run(work); };
    Loaded loaded{.name = WeightName(kinds.front(), layer)};
    std::vector<LoadedWeight> parts;
    bool quantized = false;
    for (const WeightKind kind : kinds) {
      BATON_ASSIGN_OR_RETURN(LoadedWeight part, source_.Read(kind, layer, run));
      quantized = quantized || part.quantized.has_value();
      parts.push_back(std::move(part));
    }
    if (quantized && options_.format == WeightFormat::kAuto) {
      loaded.native = NativeForm(std::move(parts), gather_allowed, run);
      return loaded;
    }
    for (LoadedWeight& part : parts) {
      if (part.dense != nullptr) {
        loaded.tensors.push_back(*part.dense);
        continue;
      }
      const int64_t n = part.quantized->n();
      const int64_t k = part.quantized->k();
      AddDequantized(n, k, Dequantize(*std::move(part.quantized), run), loaded);
      part.quantized.reset();
    }
    return loaded;
  }

  static void AddDequantized(int64_t n, int64_t k, std::vector<float> values, Loaded& loaded) {
    const std::vector<float>& held = loaded.dequantized.emplace_back(std::move(values));
    loaded.tensors.push_back({DataType::kF32, {n, k}, std::as_bytes(std::span(held))});
  }

  absl::StatusOr<LinearLayer> Native(StackForm form, const std::string& name) {
    if (!form.note.empty()) Note(form.note);
    LinearLayer linear;
    BATON_ASSIGN_OR_RETURN(linear.weight, PackViews(form.views, form.scheme, name));
    linear.gather = std::move(form.gather);
    return linear;
  }

  absl::StatusOr<LinearLayer> Packed(const Loaded& loaded, const MatrixPlan& plan) {
    std::vector<QuantizedMatrix> quantized;
    std::vector<kernels::RowSource> sources;
    std::vector<WeightView> views;
    quantized.reserve(loaded.tensors.size());
    sources.reserve(loaded.tensors.size());  // views point into it
    for (const TensorView& tensor : loaded.tensors) {
      if (plan.codes == CodeType::kDense) {
        views.push_back(Dense(loaded.tensors, tensor, sources));
      } else {
        quantized.push_back(Quantized(tensor, plan));
        views.push_back(quantized.back().View());
      }
    }
    LinearLayer linear;
    BATON_ASSIGN_OR_RETURN(linear.weight, PackViews(views, plan.scheme, loaded.name));
    return linear;
  }

  absl::StatusOr<kernels::PackedWeight> PackViews(const std::vector<WeightView>& views,
                                                  kernels::WeightScheme scheme,
                                                  const std::string& name) {
    kernels::PackResult packed =
        kernels::PackInParts(views, scheme, [this](const auto& work) { pool_.Run(work); });
    if (!packed.problem.empty()) {
      return FailedPrecondition("tensor '{}': {}", name, packed.problem);
    }
    return std::move(packed.weight);
  }

  // The tensor's own bytes; stacked parts must be of one type, so where they are not, rows in fp32.
  static WeightView Dense(const std::vector<TensorView>& stack, const TensorView& tensor,
                          std::vector<kernels::RowSource>& sources) {
    WeightView view;
    view.n = tensor.shape[0];
    view.k = tensor.shape[1];
    const bool alike = std::all_of(stack.begin(), stack.end(), [&](const TensorView& part) {
      return part.type == tensor.type;
    });
    if (!alike) {
      view.rows = &sources.emplace_back([&tensor](int64_t row, float* out) {
        ToFloat(tensor, row * tensor.shape[1], tensor.shape[1], out);
      });
      return view;
    }
    view.dense = tensor.bytes.data();
    view.dense_type = tensor.type == DataType::kF32   ? ScalarType::kFp32
                      : tensor.type == DataType::kF16 ? ScalarType::kFp16
                                                      : ScalarType::kBf16;
    return view;
  }

  QuantizedMatrix Quantized(const TensorView& tensor, const MatrixPlan& plan) {
    const int64_t k = tensor.shape[1];
    const int64_t group = plan.group == 0 ? k : GroupFor(k, plan.group);
    if (plan.group != 0 && group != plan.group) {
      Note(fmt::format("matrices with {} columns are quantized in groups of {}, not {}", k, group,
                       plan.group));
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

  // Each once.
  void Note(const std::string& note) {
    if (noted_.insert(note).second && options_.note) options_.note(note);
  }

  const Checkpoint& checkpoint_;
  const WeightSource& source_;
  const LoadOptions& options_;
  ThreadPool& pool_;
  std::set<std::string> noted_;
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

bool CpuModel::any_gather() const {
  if (!output_head().gather.empty()) return true;
  for (const DecoderLayer& layer : layers) {
    for (const LinearLayer* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      if (!linear->gather.empty()) return true;
    }
  }
  return false;
}

absl::StatusOr<std::shared_ptr<const CpuModel>> LoadCpuModel(const Checkpoint& checkpoint,
                                                             const LoadOptions& options,
                                                             ThreadPool& pool) {
  BATON_ASSIGN_OR_RETURN(const WeightSource source, WeightSource::Open(checkpoint));
  try {
    return Loader(checkpoint, source, options, pool).Load();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("weights: memory ended while packing as {}", NameOf(options.format));
  }
}

}  // namespace baton
