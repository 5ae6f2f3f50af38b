#include "kernels/gemm/cublaslt.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/gemm/lt_key.h"

namespace baton::kernels::cuda {
namespace {

cudaDataType DataType(ActivationType type) {
  return type == ActivationType::kFp16 ? CUDA_R_16F : CUDA_R_16BF;
}

template <typename T>
bool Set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  return cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof(value)) ==
         CUBLAS_STATUS_SUCCESS;
}

template <typename T>
bool Configure(cublasLtMatmulAlgo_t& algo, cublasLtMatmulAlgoConfigAttributes_t attribute,
               const T& value) {
  return cublasLtMatmulAlgoConfigSetAttribute(&algo, attribute, &value, sizeof(value)) ==
         CUBLAS_STATUS_SUCCESS;
}

// What Widen combines: tiles of 64 to 256 in both directions, clusters of up to eight blocks.
constexpr uint32_t kTiles[] = {
    CUBLASLT_MATMUL_TILE_64x64,   CUBLASLT_MATMUL_TILE_64x128,  CUBLASLT_MATMUL_TILE_64x256,
    CUBLASLT_MATMUL_TILE_96x64,   CUBLASLT_MATMUL_TILE_128x64,  CUBLASLT_MATMUL_TILE_128x96,
    CUBLASLT_MATMUL_TILE_128x128, CUBLASLT_MATMUL_TILE_128x192, CUBLASLT_MATMUL_TILE_128x256,
    CUBLASLT_MATMUL_TILE_192x128, CUBLASLT_MATMUL_TILE_256x64,  CUBLASLT_MATMUL_TILE_256x128};
constexpr uint16_t kClusters[] = {CUBLASLT_CLUSTER_SHAPE_1x1x1, CUBLASLT_CLUSTER_SHAPE_2x1x1,
                                  CUBLASLT_CLUSTER_SHAPE_1x2x1, CUBLASLT_CLUSTER_SHAPE_2x2x1,
                                  CUBLASLT_CLUSTER_SHAPE_4x1x1, CUBLASLT_CLUSTER_SHAPE_4x2x1};

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kFinalists = 8;
constexpr double kClearly = 0.98;
constexpr double kShortMs = 0.2;  // below, single times are noisy and cheap: more of them

double Median(std::vector<double> values) {
  if (values.empty()) return kInfinity;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

cudaError_t FromStatus(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return cudaSuccess;
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return cudaErrorNotSupported;
    case CUBLAS_STATUS_INVALID_VALUE:
      return cudaErrorInvalidValue;
    default:
      return cudaErrorLaunchFailure;
  }
}

}  // namespace

// Null events where they cannot be made.
struct CublasLt::EventPair {
  EventPair() {
    if (cudaEventCreate(&start) != cudaSuccess) start = nullptr;
    if (cudaEventCreate(&stop) != cudaSuccess) stop = nullptr;
  }
  ~EventPair() {
    if (start != nullptr) cudaEventDestroy(start);
    if (stop != nullptr) cudaEventDestroy(stop);
  }
  EventPair(const EventPair&) = delete;
  EventPair& operator=(const EventPair&) = delete;

  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
};

struct CublasLt::Plan {
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatrixLayoutOpaque_t w;    // [K, N] column-major
  cublasLtMatrixLayoutOpaque_t a;    // [K, M]
  cublasLtMatrixLayoutOpaque_t out;  // [N, M]
  std::vector<cublasLtMatmulAlgo_t> found;
  int chosen = 0;
  bool widened = false;

  // `scale`: any device address; the library offers no algorithm for a mode without its pointer.
  bool Describe(const LtKey& key, const void* scale);
  bool Search(cublasLtHandle_t handle, size_t workspace_bytes, uint32_t alignment);
  void Widen(cublasLtHandle_t handle, size_t workspace_bytes);
};

bool CublasLt::Plan::Describe(const LtKey& key, const void* scale) {
  const bool fp8 = key.kind != LtKind::kF16;
  const cudaDataType out_type = DataType(key.type);
  const cudaDataType in_type = fp8 ? CUDA_R_8F_E4M3 : out_type;
  if (cublasLtMatmulDescInit(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS ||
      cublasLtMatrixLayoutInit(&w, in_type, key.k, key.n, key.k) != CUBLAS_STATUS_SUCCESS ||
      cublasLtMatrixLayoutInit(&a, in_type, key.k, key.m, key.lda) != CUBLAS_STATUS_SUCCESS ||
      cublasLtMatrixLayoutInit(&out, out_type, key.n, key.m, key.ldo) != CUBLAS_STATUS_SUCCESS) {
    return false;
  }
  bool ok = Set(&desc, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (key.bias) {
    ok = ok && Set(&desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(out_type));
  }
  if (fp8) {
    const int32_t vector = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    const int8_t fast = key.kind == LtKind::kFp8FastAccum ? 1 : 0;
    ok = ok && Set(&desc, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, vector) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, vector) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scale) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scale) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
  }
  return ok;
}

bool CublasLt::Plan::Search(cublasLtHandle_t handle, size_t workspace_bytes, uint32_t alignment) {
  cublasLtMatmulPreferenceOpaque_t preference;
  if (cublasLtMatmulPreferenceInit(&preference) != CUBLAS_STATUS_SUCCESS) return false;
  cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &workspace_bytes, sizeof(workspace_bytes));
  for (const cublasLtMatmulPreferenceAttributes_t attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &alignment, sizeof(alignment));
  }
  cublasLtMatmulHeuristicResult_t results[kAlgorithms];
  int count = 0;
  if (cublasLtMatmulAlgoGetHeuristic(handle, &desc, &w, &a, &out, &out, &preference, kAlgorithms,
                                     results, &count) != CUBLAS_STATUS_SUCCESS) {
    return false;
  }
  for (int i = 0; i < count; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) found.push_back(results[i].algo);
  }
  return !found.empty();
}

void CublasLt::Plan::Widen(cublasLtHandle_t handle, size_t workspace_bytes) {
  if (widened) return;
  widened = true;
  const cublasLtMatmulAlgo_t first = found.front();
  for (const uint32_t tile : kTiles) {
    for (const uint16_t cluster : kClusters) {
      for (const uint32_t swizzle : {0u, 1u}) {
        cublasLtMatmulAlgo_t algo = first;
        const uint32_t no_option = 0;
        cublasLtMatmulHeuristicResult_t result;
        if (Configure(algo, CUBLASLT_ALGO_CONFIG_TILE_ID, tile) &&
            Configure(algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, cluster) &&
            Configure(algo, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, swizzle) &&
            Configure(algo, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, no_option) &&
            cublasLtMatmulAlgoCheck(handle, &desc, &w, &a, &out, &out, &algo, &result) ==
                CUBLAS_STATUS_SUCCESS &&
            result.workspaceSize <= workspace_bytes) {
          found.push_back(algo);
        }
      }
    }
  }
}

CublasLt::CublasLt(cublasLtHandle_t handle, void* workspace, size_t workspace_bytes)
    : handle_(handle), workspace_(workspace), workspace_bytes_(workspace_bytes) {}

CublasLt::~CublasLt() { cublasLtDestroy(handle_); }

cudaError_t CublasLt::Create(void* workspace, size_t workspace_bytes,
                             std::unique_ptr<CublasLt>* out) {
  cublasLtHandle_t handle = nullptr;
  if (cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS) return cudaErrorInitializationError;
  out->reset(new CublasLt(handle, workspace, workspace_bytes));
  return cudaSuccess;
}

CublasLt::Operands CublasLt::OperandsOf(const GemmF16Params& params) {
  return {.w = params.w,
          .a = params.a,
          .out = params.out,
          .bias = params.bias,
          .m = params.m,
          .stream = params.stream};
}

CublasLt::Operands CublasLt::OperandsOf(const GemmFp8Params& params) {
  return {.w = params.w,
          .a = params.a,
          .out = params.out,
          .bias = params.bias,
          .w_scale = params.w_scale,
          .a_scale = params.a_scale,
          .m = params.m,
          .stream = params.stream};
}

CublasLt::Plan* CublasLt::Find(const LtKey& key) {
  const auto place = plans_.find(key);
  if (place != plans_.end()) return place->second.get();
  auto plan = std::make_unique<Plan>();
  if (!plan->Describe(key, workspace_) || !plan->Search(handle_, workspace_bytes_, key.alignment))
    return nullptr;
  return plans_.emplace(key, std::move(plan)).first->second.get();
}

cudaError_t CublasLt::Execute(const Plan& plan, const Operands& operands,
                              const cublasLtMatmulAlgo_t& algo) {
  // Copies: the description holds pointers of this call, the layouts its own number of rows.
  cublasLtMatmulDescOpaque_t desc = plan.desc;
  cublasLtMatrixLayoutOpaque_t w = plan.w;
  cublasLtMatrixLayoutOpaque_t a = plan.a;
  cublasLtMatrixLayoutOpaque_t out = plan.out;
  const uint64_t rows = operands.m;
  bool ok = cublasLtMatrixLayoutSetAttribute(&a, CUBLASLT_MATRIX_LAYOUT_COLS, &rows,
                                             sizeof(rows)) == CUBLAS_STATUS_SUCCESS &&
            cublasLtMatrixLayoutSetAttribute(&out, CUBLASLT_MATRIX_LAYOUT_COLS, &rows,
                                             sizeof(rows)) == CUBLAS_STATUS_SUCCESS;
  if (operands.bias != nullptr) {
    ok = ok && Set(&desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  }
  if (operands.w_scale != nullptr) {
    ok = ok && Set(&desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.w_scale) &&
         Set(&desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.a_scale);
  }
  if (!ok) return cudaErrorInvalidValue;
  const float one = 1.0f;
  const float zero = 0.0f;
  return FromStatus(cublasLtMatmul(handle_, &desc, &one, operands.w, &w, operands.a, &a, &zero,
                                   operands.out, &out, operands.out, &out, &algo, workspace_,
                                   workspace_bytes_, operands.stream));
}

cudaError_t CublasLt::Run(const LtKey& key, const Operands& operands) {
  const Plan* plan = Find(key);
  if (plan == nullptr) return cudaErrorNotSupported;
  return Execute(*plan, operands, plan->found[plan->chosen]);
}

// Milliseconds of one launch; infinity if the algorithm does not run.
double CublasLt::TimeOnce(const Plan& plan, const Operands& operands,
                          const cublasLtMatmulAlgo_t& algo, const LtTuning& tuning,
                          const EventPair& events) {
  if (tuning.flush != nullptr) {
    cudaMemsetAsync(tuning.flush, 0x5A, tuning.flush_bytes, operands.stream);
  }
  cudaEventRecord(events.start, operands.stream);
  const cudaError_t launched = Execute(plan, operands, algo);
  cudaEventRecord(events.stop, operands.stream);
  float ms = 0.0f;
  const bool timed = cudaEventSynchronize(events.stop) == cudaSuccess && launched == cudaSuccess &&
                     cudaEventElapsedTime(&ms, events.start, events.stop) == cudaSuccess;
  return timed ? ms : kInfinity;
}

// A first pass leaves kFinalists; these take turns, so that a clock that sinks under load is the
// same for all. The library's own choice stays unless another is clearly faster.
cudaError_t CublasLt::TuneKey(const LtKey& key, const Operands& operands, const LtTuning& tuning) {
  Plan* plan = Find(key);
  if (plan == nullptr) return cudaErrorNotSupported;
  if (tuning.widen) plan->Widen(handle_, workspace_bytes_);
  const EventPair events;
  if (events.start == nullptr || events.stop == nullptr) return cudaErrorMemoryAllocation;
  std::vector<std::pair<double, int>> ranked;  // ms, index
  for (size_t i = 0; i < plan->found.size(); ++i) {
    TimeOnce(*plan, operands, plan->found[i], tuning, events);  // loads the kernel
    double ms = TimeOnce(*plan, operands, plan->found[i], tuning, events);
    for (int more = ms < kShortMs ? 3 : 0; more > 0; --more) {
      ms = std::min(ms, TimeOnce(*plan, operands, plan->found[i], tuning, events));
    }
    if (ms < kInfinity) ranked.emplace_back(i == 0 ? 0.0 : ms, static_cast<int>(i));
  }
  if (ranked.empty()) return cudaErrorNotSupported;
  std::sort(ranked.begin(), ranked.end());
  if (ranked.size() > kFinalists) ranked.resize(kFinalists);
  std::vector<std::vector<double>> times(ranked.size());
  const int rounds = ranked.back().first < kShortMs ? 4 * tuning.repeats : tuning.repeats;
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < ranked.size(); ++i) {
      times[i].push_back(TimeOnce(*plan, operands, plan->found[ranked[i].second], tuning, events));
    }
  }
  size_t best = 0;
  double best_ms = kClearly * Median(times[0]);
  for (size_t i = 1; i < times.size(); ++i) {
    const double ms = Median(times[i]);
    if (ms < best_ms) {
      best = i;
      best_ms = ms;
    }
  }
  plan->chosen = ranked[best].second;
  return cudaSuccess;
}

cudaError_t CublasLt::Tune(const GemmF16Params& params, const LtTuning& tuning) {
  if (GemmF16Problem(params) != nullptr) return cudaErrorInvalidValue;
  return TuneKey(KeyOf(params), OperandsOf(params), tuning);
}
cudaError_t CublasLt::Tune(const GemmFp8Params& params, const LtTuning& tuning) {
  if (GemmFp8Problem(params) != nullptr) return cudaErrorInvalidValue;
  return TuneKey(KeyOf(params), OperandsOf(params), tuning);
}

int CublasLt::CandidatesOf(const LtKey& key) {
  const Plan* plan = Find(key);
  return plan == nullptr ? 0 : static_cast<int>(plan->found.size());
}
void CublasLt::ChooseFor(const LtKey& key, int candidate) {
  Plan* plan = Find(key);
  if (plan == nullptr || candidate < 0) return;
  if (static_cast<size_t>(candidate) < plan->found.size()) plan->chosen = candidate;
}
int CublasLt::Candidates(const GemmF16Params& params) { return CandidatesOf(KeyOf(params)); }
int CublasLt::Candidates(const GemmFp8Params& params) { return CandidatesOf(KeyOf(params)); }
void CublasLt::Choose(const GemmF16Params& params, int candidate) {
  ChooseFor(KeyOf(params), candidate);
}
void CublasLt::Choose(const GemmFp8Params& params, int candidate) {
  ChooseFor(KeyOf(params), candidate);
}

cudaError_t GemmF16(CublasLt& lt, const GemmF16Params& params) {
  if (GemmF16Problem(params) != nullptr) return cudaErrorInvalidValue;
  return lt.Run(KeyOf(params), CublasLt::OperandsOf(params));
}
cudaError_t GemmFp8Large(CublasLt& lt, const GemmFp8Params& params) {
  if (GemmFp8Problem(params) != nullptr) return cudaErrorInvalidValue;
  return lt.Run(KeyOf(params), CublasLt::OperandsOf(params));
}

}  // namespace baton::kernels::cuda
