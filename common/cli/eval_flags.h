#pragma once

#include <optional>

#include "absl/status/status.h"
#include "common/cli/eval_matrix.h"
#include "common/cli/eval_pair.h"

namespace CLI {
class App;
}

namespace baton {

// The commands `baton eval perplexity`, `divergence` and `matrix`.
class EvalCommands {
 public:
  // Adds them to `app`, which borrows this object until it has parsed.
  explicit EvalCommands(CLI::App& app);

  // Runs the one that the parsed command line named; nullopt when it named none.
  std::optional<absl::Status> RunParsed();

 private:
  EvalPairOptions perplexity_;
  EvalPairOptions divergence_;
  EvalMatrixOptions matrix_;
  const CLI::App* perplexity_command_ = nullptr;
  const CLI::App* divergence_command_ = nullptr;
  const CLI::App* matrix_command_ = nullptr;
};

}  // namespace baton
