#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "common/base/status.h"
#include "decode_node/decode_node.h"

int main(int argc, char** argv) {
  CLI::App app("Baton decode worker: takes KV in and generates tokens", "baton-decode");
  baton::WorkerOptions options;
  baton::DecodeOptions decode;
  baton::AddWorkerOptions(app, options);
  app.add_option("--kv-listen", decode.kv_listen,
                 "Where prefill workers send KV, host:port; port 0: any free one");
  app.add_option("--max-pending-kv", decode.max_pending_kv,
                 "Share of the pages for requests that wait for their KV (default 0.5)")
      ->check(CLI::Range(0.01, 1.0));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::RunDecodeNode(std::move(options), decode);
  if (status.ok()) return 0;
  std::fprintf(stderr, "baton-decode: %s\n", baton::ToString(status).c_str());
  return 1;
}
