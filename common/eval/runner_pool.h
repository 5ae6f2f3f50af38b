#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/weight_format.h"
#include "common/runner/cpu/cpu_runner.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/kv_page/kv_format.h"

namespace baton {

// One role of a pair: which numbers it computes with, and in which format it keeps the cache.
struct RoleSpec {
  std::string model;  // checkpoint folder
  WeightFormat weights = WeightFormat::kAuto;
  kernels::KvFormats kv;

  friend bool operator==(const RoleSpec&, const RoleSpec&) = default;
};

// A prefill role, a decode role, and the format of the cache between them.
struct PairSpec {
  RoleSpec prefill;
  RoleSpec decode;
  kernels::KvFormats wire;

  friend bool operator==(const PairSpec&, const PairSpec&) = default;
};

// A runner with pages for one sequence as the prefill worker and one as the decode worker.
struct EvalRunner {
  std::unique_ptr<CpuRunner> runner;
  std::shared_ptr<const CpuModel> model;
  std::vector<int32_t> prefill_pages;
  std::vector<int32_t> decode_pages;
};

// Loads each (folder, weights) once and keeps one runner per role; models are shared between the
// runners that differ in the cache's format alone. Everything stays until the pool ends: memory is
// the sum of the models. One thread at a time.
class RunnerPool {
 public:
  // `sequence_tokens`: of the longest sequence. `note` is told of each model that is loaded, may be
  // empty.
  RunnerPool(int threads, int sequence_tokens, std::function<void(std::string_view)> note);

  // Errors of opening and loading name the folder. The reference stays valid as long as the pool.
  absl::StatusOr<EvalRunner*> Get(const RoleSpec& role);

  ThreadPool& threads() { return threads_; }

 private:
  absl::StatusOr<std::shared_ptr<const CpuModel>> Model(const RoleSpec& role);

  ThreadPool threads_;
  const int sequence_tokens_;
  const std::function<void(std::string_view)> note_;
  std::map<std::pair<std::string, WeightFormat>, std::shared_ptr<const CpuModel>> models_;
  using RunnerKey = std::tuple<std::string, WeightFormat, kernels::KvFormat, kernels::KvFormat>;
  std::map<RunnerKey, EvalRunner> runners_;
};

}  // namespace baton
