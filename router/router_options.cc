#include "router/router_options.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <limits>

#include "common/base/status.h"

namespace baton {
namespace {

void AddSeconds(CLI::App& app, const std::string& flag, Duration& target,
                const std::string& meaning) {
  app.add_option_function<double>(
         flag,
         [&target](double seconds) {
           target = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
         },
         fmt::format("{}, seconds (default {})", meaning, Seconds(target)))
      ->check(CLI::Range(0.0, 86400.0));
}

template <typename T>
void AddParsed(CLI::App& app, const std::string& flag, T& target,
               absl::StatusOr<T> (*parse)(std::string_view), const std::string& meaning) {
  app.add_option_function<std::string>(
         flag, [&target, parse](const std::string& value) { target = *parse(value); }, meaning)
      ->check([parse](const std::string& value) {
        const absl::StatusOr<T> parsed = parse(value);
        return parsed.ok() ? std::string() : std::string(MessageOf(parsed.status()));
      });
}

std::string CheckHostPort(const std::string& value) {
  const size_t colon = value.rfind(':');
  const std::string port = colon == std::string::npos ? "" : value.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  if (colon == 0 || !digits || std::stoi(port) > 65535) {
    return fmt::format("'{}', expected host:port with a port from 0 to 65535", value);
  }
  return "";
}

}  // namespace

void AddRouterOptions(CLI::App& app, RouterOptions& o) {
  app.set_config("--flagfile", "", "File with flags, one NAME=VALUE a line");
  app.add_option(
         "--model", o.model,
         "Folder with tokenizer.json and config.json, or a GGUF file; without it only token ids "
         "are served")
      ->check(CLI::ExistingPath);
  app.add_option("--served-model-name", o.served_model_name,
                 "Name that clients and workers use (default: the folder's)");
  app.add_option("--router-id", o.router_id, "Name told to workers");
  app.add_option("--listen", o.listen, "host:port of the gRPC services; port 0: any free one")
      ->check(CheckHostPort)
      ->capture_default_str();
  app.add_option("--metrics-listen", o.metrics_listen,
                 "host:port of the Prometheus endpoint; empty: none")
      ->check(CheckHostPort);
  app.add_option("--port-file", o.port_file, "Written with rpc=PORT and metrics=PORT once serving");
  app.add_flag("--reflection", o.reflection, "Serve gRPC reflection (not on public ports)");
  app.add_option("--policy", o.policy, "How workers are chosen")
      ->check(CLI::IsMember({"round_robin", "least_loaded", "power_of_two"}))
      ->capture_default_str();
  app.add_option("--max-queue", o.max_queue, "Requests that may wait for a worker")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--retries", o.max_retries, "New attempts of a request after losses of workers")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  AddSeconds(app, "--request-timeout", o.default_timeout,
             "Longest life of a request, also where the client sets no deadline");
  AddSeconds(app, "--drain-timeout", o.drain_timeout, "Time to finish after SIGTERM");
  AddSeconds(app, "--suspect-after", o.suspect_after, "Silence after which a worker gets no work");
  AddSeconds(app, "--lost-after", o.lost_after, "Silence after which a worker is lost");
  AddParsed(app, "--log-format", o.log_format, &ParseLogFormat, "text or json");
  AddParsed(app, "--log-level", o.log_level, &ParseLogLevel, "debug, info, warning or error");
}

}  // namespace baton
