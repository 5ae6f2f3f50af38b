#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/base/log.h"

namespace CLI {
class App;
}

namespace baton {

// What a router is told on the command line, checked.
struct RouterOptions {
  std::string model;              // folder or GGUF file; empty: ids only
  std::string served_model_name;  // empty: the folder's name
  std::string router_id;          // empty: "router"
  std::string listen = "127.0.0.1:8000";
  std::string metrics_listen;  // empty: no exporter
  std::string port_file;
  bool reflection = false;

  std::string policy = "least_loaded";
  uint64_t max_queue = 1024;
  uint32_t max_retries = 2;
  Duration default_timeout = std::chrono::minutes(10);
  Duration drain_timeout = std::chrono::seconds(120);
  Duration suspect_after = std::chrono::seconds(3);
  Duration lost_after = std::chrono::seconds(10);
  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;
};

// Adds all flags with their checks: a wrong value is refused by the flag's name. `options` outlives
// the parse.
void AddRouterOptions(CLI::App& app, RouterOptions& options);

}  // namespace baton
