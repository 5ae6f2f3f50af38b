#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "common/base/status.h"
#include "router/router_options.h"
#include "router/router_process.h"

int main(int argc, char** argv) {
  CLI::App app(
      "baton-router: takes requests, chooses a prefill and a decode worker for each, merges their "
      "tokens. Workers register at its address. SIGTERM drains, a second one stops.");
  baton::RouterOptions options;
  baton::AddRouterOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::RunRouter(options);
  if (status.ok()) return 0;
  fmt::print(stderr, "baton-router: {}\n", baton::ToString(status));
  return 1;
}
