// Timing and reporting of kernels: CUDA graphs, operands cold in L2, shares of measured peaks.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/types.h"
#include "tests/bench/kernels_gpu/shapes.h"

namespace baton::bench {

// What this device can do at most, measured by MeasurePeaks.
struct GpuPeaks {
  double copy = 0.0;        // bytes read plus bytes written per second, device to device
  double fp16_flops = 0.0;  // best cuBLASLt product, fp16 in and out, fp32 accumulation
  double fp8_flops = 0.0;   // the same, e4m3 in, bf16 out, fast accumulation
};
GpuPeaks MeasurePeaks(cudaStream_t stream);

enum class PeakKind { kNone, kFp16, kFp8 };

// One line of the table.
struct Measurement {
  std::string op;       // "rms_norm"
  std::string shape;    // "qkv 6144x4096"
  int m = 0;            // tokens
  std::string variant;  // "fp16, residual"
  double us = 0.0;      // 0: failed, `note` says why
  double bytes = 0.0;   // the fewest that must move, read plus written; 0: not shown
  double flops = 0.0;   // 0: not shown
  PeakKind flops_peak = PeakKind::kNone;
  double cublas_fp16_us = 0.0;  // the same product by cuBLAS FP16, beside; 0: none
  std::string note;
};

// Launches once on `stream`, with operand copy `copy`.
using BenchCall = std::function<cudaError_t(int copy, cudaStream_t stream)>;

struct BenchOptions {
  ModelShape model;
  std::vector<int> tokens;  // M of the products
  int replays = 21;
};

class CublasBaseline;  // baseline.h

class GpuBench {
 public:
  GpuBench(BenchOptions options, const kernels::cuda::DeviceTraits& device);
  ~GpuBench();
  GpuBench(const GpuBench&) = delete;
  GpuBench& operator=(const GpuBench&) = delete;

  const BenchOptions& options() const { return options_; }
  const kernels::cuda::DeviceTraits& device() const { return device_; }
  const GpuPeaks& peaks() const { return peaks_; }
  cudaStream_t stream() const { return stream_; }
  // cuBLAS FP16 beside; remembers what it has measured.
  CublasBaseline& baseline() { return *baseline_; }

  // How many copies of operands of `bytes` each add up to more than 200 MB, four times the L2.
  static int CopiesFor(double bytes);
  // µs of one call: a graph of max(8, copies) calls, each with the next copy, replayed 3 times
  // unmeasured, then `replays` times; the median over replays / calls. An error, also of the
  // launches themselves, gives 0 and its text in last_error().
  double TimeUs(int copies, const BenchCall& call, int replays = 0);
  const std::string& last_error() const { return last_error_; }

  void Report(Measurement measurement);
  // All measurements, device and peaks as JSON.
  std::string Json() const;

 private:
  bool Capture(int copies, int calls, const BenchCall& call, cudaGraphExec_t* graph);

  BenchOptions options_;
  kernels::cuda::DeviceTraits device_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t start_ = nullptr;
  cudaEvent_t stop_ = nullptr;
  GpuPeaks peaks_;
  std::unique_ptr<CublasBaseline> baseline_;
  std::string last_error_;
  std::vector<Measurement> measurements_;
};

}  // namespace baton::bench
