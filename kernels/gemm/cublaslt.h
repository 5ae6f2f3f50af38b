// cuBLASLt with algorithms kept per shape; plain C++.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <map>
#include <memory>

#include "kernels/gemm/cuda.h"
#include "kernels/gemm/lt_key.h"

namespace baton::kernels::cuda {

struct LtTuning {
  int repeats = 5;  // launches of each of the few that a first pass leaves; medians are compared
  // Device memory that is overwritten before each launch, so that the weights come from memory as
  // they will in a forward pass: at least twice the L2. Null: they stay in L2 if they fit.
  void* flush = nullptr;
  size_t flush_bytes = 0;
  // Also time variants of the library's first choice in tile, cluster and order of blocks that it
  // accepts for the shape (about a hundred): at a few hundred rows they are faster by up to a
  // third.
  bool widen = false;
};

// Owns the library handle and the algorithms; the workspace is the caller's and must outlive it.
// One thread at a time; products that run at the same time on several streams need one object and
// one workspace each. Kernels are loaded at first use: run every shape once before capturing.
class CublasLt {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
  static constexpr int kAlgorithms = 8;  // asked of the library for a shape

  // workspace: device memory, 256-byte aligned. cudaErrorInitializationError if the library cannot
  // start.
  static cudaError_t Create(void* workspace, size_t workspace_bytes,
                            std::unique_ptr<CublasLt>* out);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // Times the library's first kAlgorithms for the parameters' key on these operands (`out` is
  // overwritten), and keeps the fastest. Synchronizes; not for a capture.
  cudaError_t Tune(const GemmF16Params& params, const LtTuning& tuning = {});
  cudaError_t Tune(const GemmFp8Params& params, const LtTuning& tuning = {});

  // For a tuner that measures by itself: how many algorithms the library offers for the parameters'
  // key (0: none), and the choice of one of them.
  int Candidates(const GemmF16Params& params);
  int Candidates(const GemmFp8Params& params);
  void Choose(const GemmF16Params& params, int candidate);
  void Choose(const GemmFp8Params& params, int candidate);

 private:
  friend cudaError_t GemmF16(CublasLt& lt, const GemmF16Params& params);
  friend cudaError_t GemmFp8Large(CublasLt& lt, const GemmFp8Params& params);

  // Operands in the library's column-major terms: D[N, M] = W[K, N]ᵀ · A[K, M].
  struct Operands {
    const void* w = nullptr;
    const void* a = nullptr;
    void* out = nullptr;
    const void* bias = nullptr;
    const float* w_scale = nullptr;
    const float* a_scale = nullptr;
    int m = 0;
    cudaStream_t stream = nullptr;
  };
  struct Plan;
  struct EventPair;

  CublasLt(cublasLtHandle_t handle, void* workspace, size_t workspace_bytes);
  static Operands OperandsOf(const GemmF16Params& params);
  static Operands OperandsOf(const GemmFp8Params& params);
  // The plan of a key, made with the library's first choice if there is none; null if the library
  // has no algorithm.
  Plan* Find(const LtKey& key);
  cudaError_t Run(const LtKey& key, const Operands& operands);
  cudaError_t Execute(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algo);
  int CandidatesOf(const LtKey& key);
  void ChooseFor(const LtKey& key, int candidate);
  cudaError_t TuneKey(const LtKey& key, const Operands& operands, const LtTuning& tuning);
  double TimeOnce(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algo,
                  const LtTuning& tuning, const EventPair& events);

  cublasLtHandle_t handle_;
  void* workspace_;
  size_t workspace_bytes_;
  std::map<LtKey, std::unique_ptr<Plan>> plans_;
};

}  // namespace baton::kernels::cuda
