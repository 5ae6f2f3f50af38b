#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <utility>

#include "common/base/status.h"
#include "prefill_node/prefill_node.h"

int main(int argc, char** argv) {
  CLI::App app("Baton prefill worker: computes prompts and hands their KV over", "baton-prefill");
  baton::WorkerOptions options;
  baton::PrefillOptions prefill;
  baton::AddWorkerOptions(app, options);
  app.add_option("--chunk-tokens", prefill.chunk_tokens, "Prompt tokens computed in one step")
      ->check(CLI::Range(1, 65536));
  app.add_option_function<int64_t>(
         "--slab-timeout-ms",
         [&prefill](int64_t ms) { prefill.slab_timeout = std::chrono::milliseconds(ms); },
         "From the end of a slab's send to its acknowledgement (default 5000)")
      ->check(CLI::Range(1, 3'600'000));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::RunPrefillNode(std::move(options), prefill);
  if (status.ok()) return 0;
  std::fprintf(stderr, "baton-prefill: %s\n", baton::ToString(status).c_str());
  return 1;
}
