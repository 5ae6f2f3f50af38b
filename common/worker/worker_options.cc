#include "common/worker/worker_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "absl/status/statusor.h"
#include "common/base/status.h"
#include "kernels/kv_page/layout.h"

namespace baton {
namespace {

// An option whose text `parse` turns into a StatusOr<T> for `target`; CLI11 reports by exception.
template <typename T, typename Parse>
CLI::Option* AddParsed(CLI::App& app, const std::string& flag, T& target, Parse parse,
                       const std::string& help) {
  return app.add_option_function<std::string>(
      flag,
      [&target, parse, flag](const std::string& text) {
        auto value = parse(text);
        if (!value.ok()) throw CLI::ValidationError(flag, std::string(MessageOf(value.status())));
        target = *std::move(value);
      },
      help);
}

absl::StatusOr<kernels::KvFormats> ParseKvFormat(const std::string& text) {
  if (const auto formats = kernels::ParseKvFormats(text)) return *formats;
  return InvalidArgument("'{}', expected fp16, bf16, fp8_e4m3, fp8_e5m2, int8, int4 or k8v4", text);
}

absl::StatusOr<std::optional<kernels::KvFormats>> ParseWireFormat(const std::string& text) {
  if (text == "auto") return std::optional<kernels::KvFormats>();
  BATON_ASSIGN_OR_RETURN(const kernels::KvFormats formats, ParseKvFormat(text));
  return std::optional(formats);
}

absl::StatusOr<bool> ParseSwitch(const std::string& text) {
  if (text == "on") return true;
  if (text == "off") return false;
  return InvalidArgument("'{}', expected on or off", text);
}

absl::StatusOr<std::string> ParseTransport(const std::string& text) {
  if (text == "ucx") return text;
  if (text == "nccl") return Unimplemented("'nccl' is not built yet, expected ucx");
  return InvalidArgument("'{}', expected ucx", text);
}

absl::StatusOr<Duration> ParseSeconds(const std::string& text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds > 0) ||
      seconds > 86400) {
    return InvalidArgument("'{}', expected seconds, more than 0 and at most 86400", text);
  }
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

void AddEndpoint(CLI::App& app, const std::string& flag, std::string& target,
                 const std::string& help) {
  AddParsed(
      app, flag, target,
      [flag](const std::string& text) -> absl::StatusOr<std::string> {
        BATON_RETURN_IF_ERROR(CheckEndpoint(flag, text));
        return text;
      },
      help);
}

void AddModelOptions(CLI::App& app, WorkerOptions& o) {
  app.add_option("--model", o.model, "Checkpoint folder or GGUF file")->required();
  app.add_option("--served-model-name", o.served_model_name, "Default: the folder's name");
  app.add_option("--worker-id", o.worker_id, "Name in the cluster; default: role, host, process");
  AddParsed(app, "--weights", o.weights, ParseWeightFormat,
            "fp32 fp16 w8a8 w8a8-fp8 w4a16 w4a8 auto");
  AddParsed(app, "--kv-format", o.kv_format, ParseKvFormat, "Format of resident KV");
  AddParsed(app, "--wire-format", o.wire_format, ParseWireFormat,
            "The only format accepted on the wire; auto: any, resident first");
  app.add_option("--page-tokens", o.page_tokens, "Tokens of a KV page: 16, 32, 64 or 128")
      ->check(CLI::IsMember({16, 32, 64, 128}));
  CLI::Option* bytes =
      app.add_option("--kv-bytes", o.kv_bytes, "Memory for KV pages (default 256MiB)")
          ->transform(CLI::AsSizeValue(false));
  app.add_option("--kv-memory-share", o.kv_memory_share,
                 "Memory for KV pages as a share of what is available after loading")
      ->check(CLI::Range(0.01, 0.95))
      ->excludes(bytes);
  app.add_option("--threads", o.threads, "Threads that compute; 0: all cores")
      ->check(CLI::Range(0, 1024));
  AddParsed(app, "--prefix-cache", o.prefix_cache, ParseSwitch, "on or off");
  app.add_flag("--trust-model-identity", o.trust_model_identity,
               "Serve with peers though this checkpoint's source is unknown and probes differ");
}

void AddNetworkOptions(CLI::App& app, WorkerOptions& o) {
  AddEndpoint(app, "--router", o.router, "Router to register with, host:port");
  AddEndpoint(app, "--listen", o.listen, "gRPC services, host:port; port 0: any free one");
  app.add_option("--advertise", o.advertise, "Host that peers reach; default: that of --listen");
  AddParsed(app, "--transport", o.transport, ParseTransport, "How KV travels: ucx");
  AddEndpoint(app, "--metrics-listen", o.metrics_listen, "Prometheus exporter, host:port");
  app.add_option("--port-file", o.port_file, "File that gets the ports once all listen");
  app.add_flag("--reflection", o.reflection, "gRPC server reflection");
}

void AddServingOptions(CLI::App& app, WorkerOptions& o) {
  app.add_option("--max-queue", o.max_queue, "Requests that may wait")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--max-batch", o.max_batch, "Requests in one step")->check(CLI::Range(1, 65536));
  app.add_option("--slab-bytes", o.slab_bytes, "Largest slab")->transform(CLI::AsSizeValue(false));
  app.add_option("--arena-bytes", o.arena_bytes, "Memory for slabs in flight, at least two slabs")
      ->transform(CLI::AsSizeValue(false));
  AddParsed(app, "--lease-initial", o.lease.initial, ParseSeconds, "Seconds (default 30)");
  AddParsed(app, "--lease-extension", o.lease.extension, ParseSeconds, "Seconds (default 20)");
  AddParsed(app, "--lease-renew", o.lease.renew_period, ParseSeconds, "Seconds (default 5)");
  AddParsed(app, "--drain-timeout", o.drain_timeout, ParseSeconds,
            "Seconds that a drain may take (default 120)");
  AddParsed(app, "--log-format", o.log_format, ParseLogFormat, "text or json");
  AddParsed(app, "--log-level", o.log_level, ParseLogLevel, "debug info warning error");
}

}  // namespace

void AddWorkerOptions(CLI::App& app, WorkerOptions& options) {
  app.set_config("--flagfile", "", "File with flags, one name=value a line");
  AddModelOptions(app, options);
  AddNetworkOptions(app, options);
  AddServingOptions(app, options);
}

absl::Status CheckEndpoint(std::string_view flag, std::string_view value) {
  const size_t colon = value.rfind(':');
  uint32_t port = 65536;
  if (colon != std::string_view::npos && colon > 0) {
    const char* const end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data() + colon + 1, end, port);
    if (error != std::errc() || rest != end) port = 65536;
  }
  if (port <= 65535) return absl::OkStatus();
  return InvalidArgument("{}: '{}', expected host:port with a port from 0 to 65535", flag, value);
}

std::string HostOf(std::string_view endpoint) {
  return std::string(endpoint.substr(0, endpoint.rfind(':')));
}

}  // namespace baton
