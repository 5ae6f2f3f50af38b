#pragma once

#include <optional>

#include "absl/status/status.h"
#include "common/cli/quantize.h"

namespace CLI {
class App;
}

namespace baton {

// The commands `baton quantize` and `baton quantize pair`.
class QuantizeCommands {
 public:
  // Adds them to `app`, which borrows this object until it has parsed.
  explicit QuantizeCommands(CLI::App& app);

  // Runs the one that the parsed command line named; nullopt when it named none.
  std::optional<absl::Status> RunParsed();

 private:
  QuantizeOptions one_;
  QuantizePairOptions pair_;
  const CLI::App* one_command_ = nullptr;
  const CLI::App* pair_command_ = nullptr;
};

}  // namespace baton
