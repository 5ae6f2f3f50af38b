#include "common/cli/eval_matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "common/base/status.h"
#include "common/cli/input.h"
#include "common/cli/pair_check.h"
#include "common/eval/gate.h"
#include "common/eval/matrix.h"
#include "common/quant/weight_format.h"

namespace baton {
namespace {

// An entry of the lists of schemes.
struct Side {
  std::string label;
  std::string model;
  WeightFormat weights = WeightFormat::kAuto;
};

absl::StatusOr<std::vector<Side>> ParseSides(std::string_view flag, const std::string& model,
                                             const std::vector<std::string>& entries) {
  std::vector<Side> sides;
  std::set<std::string> labels;
  for (const std::string& entry : entries) {
    Side side{.label = entry, .model = model};
    if (const size_t equals = entry.find('='); equals != std::string::npos) {
      side.label = entry.substr(0, equals);
      side.model = entry.substr(equals + 1);
    } else {
      BATON_ASSIGN_OR_RETURN(side.weights, ParseWeightFormat(entry));
    }
    if (side.label.empty() || side.label.find_first_of(",|\"\n") != std::string::npos) {
      return InvalidArgument("{}: '{}', expected SCHEME or LABEL=FOLDER", flag, entry);
    }
    if (!labels.insert(side.label).second) {
      return InvalidArgument("{}: '{}' given twice", flag, side.label);
    }
    sides.push_back(std::move(side));
  }
  if (sides.empty()) return InvalidArgument("{}: none given, expected at least one", flag);
  return sides;
}

// Every checkpoint must be one that may serve with the others: the check of a pair. A folder is
// read once.
absl::Status CheckMayServe(const EvalMatrixOptions& options, const std::vector<Side>& prefills,
                           const std::vector<Side>& decodes) {
  std::map<std::string, v1::KvContract> contracts;
  for (const std::vector<Side>* sides : {&prefills, &decodes}) {
    for (const Side& side : *sides) {
      if (contracts.contains(side.model)) continue;
      BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                             Checkpoint::Open(side.model, {.accept_quantized = true}));
      BATON_ASSIGN_OR_RETURN(contracts[side.model],
                             ContractOf({.model = side.model,
                                         .weights = side.weights,
                                         .trust_model_identity = options.trust_model_identity},
                                        checkpoint));
    }
  }
  for (const Side& prefill : prefills) {
    for (const Side& decode : decodes) {
      const ContractCheck check =
          CheckContracts(contracts.at(prefill.model), contracts.at(decode.model));
      if (check.ok()) continue;
      return FailedPrecondition("{} and {} may not serve together: {}", prefill.model, decode.model,
                                Describe(check.mismatches));
    }
  }
  return absl::OkStatus();
}

struct Work {
  AccuracyMatrix matrix;  // cells without scores
  std::vector<PairSpec> pairs;
  EvalConfig config;
};

absl::StatusOr<Work> Plan(const EvalMatrixOptions& options) {
  BATON_ASSIGN_OR_RETURN(const std::vector<Side> prefills,
                         ParseSides("prefill-weights", options.model, options.prefills));
  BATON_ASSIGN_OR_RETURN(const std::vector<Side> decodes,
                         ParseSides("decode-weights", options.model, options.decodes));
  std::vector<std::string> models;
  for (const std::vector<Side>* sides : {&prefills, &decodes}) {
    for (const Side& side : *sides) models.push_back(side.model);
  }
  BATON_RETURN_IF_ERROR(CheckReference("model", options.model, models));
  BATON_RETURN_IF_ERROR(CheckMayServe(options, prefills, decodes));
  Work work;
  const kernels::KvFormats fp16{kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};
  const RoleSpec reference{.model = options.model, .weights = WeightFormat::kFp32, .kv = fp16};
  work.config = {.window = options.text.window,
                 .score_prompt = options.both_phases,
                 .divergence = true,
                 .greedy_tokens = options.greedy_tokens,
                 .reference = {.prefill = reference, .decode = reference, .wire = fp16}};
  for (const Side& prefill : prefills) {
    work.matrix.prefills.push_back(prefill.label);
    for (const std::string& name : options.kvs) {
      const auto kv = kernels::ParseKvFormats(name);
      if (!kv) {
        return InvalidArgument(
            "kv: '{}', expected fp16, bf16, fp8_e4m3, fp8_e5m2, int8, int4 or k8v4", name);
      }
      for (const Side& decode : decodes) {
        work.matrix.cells.push_back({.prefill = prefill.label, .decode = decode.label, .kv = name});
        work.pairs.push_back({.prefill = {prefill.model, prefill.weights, *kv},
                              .decode = {decode.model, decode.weights, *kv},
                              .wire = *kv});
      }
    }
  }
  work.matrix.kvs = options.kvs;
  for (const Side& decode : decodes) work.matrix.decodes.push_back(decode.label);
  return work;
}

absl::Status Write(const EvalMatrixOptions& options, const AccuracyMatrix& matrix) {
  if (options.output == "json") {
    fmt::print("{}\n", MatrixJson(matrix).dump());
  } else {
    fmt::print("{}", options.output == "csv" ? MatrixCsv(matrix) : MatrixMarkdown(matrix));
  }
  if (options.markdown) {
    BATON_RETURN_IF_ERROR(WriteTextFile(*options.markdown, MatrixMarkdown(matrix)));
  }
  if (options.csv) BATON_RETURN_IF_ERROR(WriteTextFile(*options.csv, MatrixCsv(matrix)));
  if (options.heat_map) {
    BATON_RETURN_IF_ERROR(WriteTextFile(*options.heat_map, MatrixHeatMap(matrix)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunEvalMatrix(const EvalMatrixOptions& options) {
  if (options.heat_map) BATON_RETURN_IF_ERROR(CheckSvgName("heat-map", *options.heat_map));
  std::vector<GateBound> gate;
  if (options.gate) {
    BATON_ASSIGN_OR_RETURN(const std::string file, ReadTextFile(*options.gate, 1 << 20));
    BATON_ASSIGN_OR_RETURN(gate, ParseGate(file));
  }
  BATON_ASSIGN_OR_RETURN(Work work, Plan(options));
  BATON_ASSIGN_OR_RETURN(const EvalText text, LoadEvalText(options.text, options.model));
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  RunnerPool pool(options.threads > 0 ? options.threads : cores,
                  Evaluator::SequenceTokens(work.config),
                  [](std::string_view note) { fmt::print(stderr, "{}\n", note); });
  Evaluator evaluator(work.config, pool);
  BATON_ASSIGN_OR_RETURN(EvalResult result,
                         evaluator.Run(text.windows, work.pairs, WindowProgress()));
  AccuracyMatrix& matrix = work.matrix;
  matrix.model = std::filesystem::path(options.model).lexically_normal().filename().string();
  matrix.window = options.text.window;
  matrix.windows = static_cast<int>(text.windows.size());
  matrix.score_prompt = options.both_phases;
  matrix.greedy_tokens = options.greedy_tokens;
  matrix.reference = "fp32 → fp16 → fp32";
  matrix.reference_scores = std::move(result.reference);
  for (size_t i = 0; i < matrix.cells.size(); ++i) {
    matrix.cells[i].scores = std::move(result.pairs[i]);
  }
  BATON_RETURN_IF_ERROR(Write(options, matrix));
  const std::vector<std::string> broken = CheckGate(gate, matrix);
  if (broken.empty()) return absl::OkStatus();
  return FailedPrecondition("gate: {} of {} bounds broken\n{}", broken.size(), gate.size(),
                            fmt::join(broken, "\n"));
}

}  // namespace baton
