#include "tests/bench/kernels_gpu/bench.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/bench/kernels_gpu/baseline.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {
namespace {

constexpr double kColdBytes = 200e6;
constexpr int kMinCalls = 8;
constexpr int kWarmReplays = 3;

double PeakOf(const GpuPeaks& peaks, PeakKind kind) {
  switch (kind) {
    case PeakKind::kFp16:
      return peaks.fp16_flops;
    case PeakKind::kFp8:
      return peaks.fp8_flops;
    case PeakKind::kNone:
      break;
  }
  return 0.0;
}

std::string Cell(bool shown, double value, int digits) {
  return shown ? fmt::format("{:.{}f}", value, digits) : "";
}

}  // namespace

GpuBench::GpuBench(BenchOptions options, const kernels::cuda::DeviceTraits& device)
    : options_(std::move(options)), device_(device) {
  kernels::cuda::OrAbort(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
  kernels::cuda::OrAbort(cudaEventCreate(&start_), "event");
  kernels::cuda::OrAbort(cudaEventCreate(&stop_), "event");
  peaks_ = MeasurePeaks(stream_);
  baseline_ = std::make_unique<CublasBaseline>(*this);
  fmt::print(
      "device: {}, {} multiprocessors, {} MB L2\npeaks: copy {:.0f} GB/s, cuBLASLt fp16 {:.0f} "
      "TFLOPS, fp8 {:.0f} TFLOPS\n\n{:<18} {:<22} {:>6} {:<26} {:>9} {:>7} {:>5} {:>7} {:>5} "
      "{:>7}\n",
      device_.name, device_.sm_count, device_.l2_bytes >> 20, peaks_.copy / 1e9,
      peaks_.fp16_flops / 1e12, peaks_.fp8_flops / 1e12, "op", "shape", "M", "variant", "us",
      "GB/s", "%copy", "TFLOPS", "%peak", "xcuBLAS");
}

GpuBench::~GpuBench() {
  cudaEventDestroy(start_);
  cudaEventDestroy(stop_);
  cudaStreamDestroy(stream_);
}

int GpuBench::CopiesFor(double bytes) {
  return std::max(1, static_cast<int>(std::ceil(kColdBytes / std::max(bytes, 1.0))));
}

bool GpuBench::Capture(int copies, int calls, const BenchCall& call, cudaGraphExec_t* graph) {
  cudaError_t error = call(0, stream_);  // outside the graph: loads the kernels
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
  if (error == cudaSuccess) {
    error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < calls && error == cudaSuccess; ++i) error = call(i % copies, stream_);
    cudaGraph_t captured = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_, &captured);
    if (error == cudaSuccess) error = ended;
    if (error == cudaSuccess) error = cudaGraphInstantiate(graph, captured, 0);
    if (captured != nullptr) cudaGraphDestroy(captured);
  }
  if (error == cudaSuccess) return true;
  last_error_ = cudaGetErrorString(error);
  cudaGetLastError();
  return false;
}

double GpuBench::TimeUs(int copies, const BenchCall& call, int replays) {
  last_error_.clear();
  if (replays == 0) replays = options_.replays;
  const int calls = std::max(kMinCalls, copies);
  cudaGraphExec_t graph = nullptr;
  if (!Capture(copies, calls, call, &graph)) return 0.0;
  std::vector<float> ms;
  cudaError_t error = cudaSuccess;
  for (int i = -kWarmReplays; i < replays && error == cudaSuccess; ++i) {
    cudaEventRecord(start_, stream_);
    error = cudaGraphLaunch(graph, stream_);
    cudaEventRecord(stop_, stream_);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
    float elapsed = 0.0f;
    if (error == cudaSuccess) error = cudaEventElapsedTime(&elapsed, start_, stop_);
    if (i >= 0) ms.push_back(elapsed);
  }
  cudaGraphExecDestroy(graph);
  if (error != cudaSuccess) {
    last_error_ = cudaGetErrorString(error);
    return 0.0;
  }
  std::nth_element(ms.begin(), ms.begin() + ms.size() / 2, ms.end());
  return 1e3 * ms[ms.size() / 2] / calls;
}

void GpuBench::Report(Measurement m) {
  const double seconds = m.us * 1e-6;
  if (m.us <= 0.0 && m.note.empty()) m.note = "failed: " + last_error_;
  const double peak = PeakOf(peaks_, m.flops_peak);
  const bool timed = m.us > 0.0;
  fmt::print("{:<18} {:<22} {:>6} {:<26} {:>9} {:>7} {:>5} {:>7} {:>5} {:>7}  {}\n", m.op, m.shape,
             m.m, m.variant, Cell(timed, m.us, 2),
             Cell(timed && m.bytes > 0, m.bytes / seconds / 1e9, 0),
             Cell(timed && m.bytes > 0, 100 * m.bytes / seconds / peaks_.copy, 0),
             Cell(timed && m.flops > 0, m.flops / seconds / 1e12, m.m < 64 ? 1 : 0),
             Cell(timed && m.flops > 0 && peak > 0, 100 * m.flops / seconds / peak, 0),
             Cell(timed && m.cublas_fp16_us > 0, m.cublas_fp16_us / m.us, 2), m.note);
  std::fflush(stdout);
  measurements_.push_back(std::move(m));
}

std::string GpuBench::Json() const {
  nlohmann::json rows = nlohmann::json::array();
  for (const Measurement& m : measurements_) {
    rows.push_back({{"op", m.op},
                    {"shape", m.shape},
                    {"m", m.m},
                    {"variant", m.variant},
                    {"us", m.us},
                    {"bytes", m.bytes},
                    {"flops", m.flops},
                    {"copy_share", m.us > 0 ? m.bytes / (m.us * 1e-6) / peaks_.copy : 0.0},
                    {"cublas_fp16_us", m.cublas_fp16_us},
                    {"note", m.note}});
  }
  const nlohmann::json all = {{"device", device_.name},
                              {"sm_count", device_.sm_count},
                              {"model", options_.model.name},
                              {"copy_bytes_per_second", peaks_.copy},
                              {"fp16_flops", peaks_.fp16_flops},
                              {"fp8_flops", peaks_.fp8_flops},
                              {"rows", rows}};
  return all.dump(1);
}

}  // namespace baton::bench
