#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cli/eval_text.h"

namespace baton {

// `baton eval matrix`: the table over {prefill schemes} × {KV formats} × {decode schemes}.
struct EvalMatrixOptions {
  std::string model;  // folder of the unquantized model: the reference and the schemes
  // Schemes, quantized to nearest at load ("w8a8"), or checkpoints of the same model
  // ("LABEL=FOLDER", as the folder is).
  std::vector<std::string> prefills;
  std::vector<std::string> decodes;
  std::vector<std::string> kvs;
  EvalTextOptions text;
  bool both_phases = false;
  int greedy_tokens = 0;
  int threads = 0;  // 0: all cores
  bool trust_model_identity = false;
  std::string output = "markdown";                     // markdown, csv or json on standard output
  std::optional<std::string> markdown, csv, heat_map;  // files written as well
  std::optional<std::string> gate;  // file of bounds: FAILED_PRECONDITION when one is broken
};

absl::Status RunEvalMatrix(const EvalMatrixOptions& options);

}  // namespace baton
