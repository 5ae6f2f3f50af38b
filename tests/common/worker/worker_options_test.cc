#include "common/worker/worker_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <vector>

#include "common/worker/loaded_model.h"

namespace baton {
namespace {

// Empty when the flags are accepted, else what the user reads.
std::string Parse(std::vector<std::string> flags, WorkerOptions& options) {
  CLI::App app;
  AddWorkerOptions(app, options);
  std::vector<const char*> argv = {"program"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

TEST(WorkerOptionsTest, ReadsEveryKindOfFlag) {
  WorkerOptions o;
  ASSERT_EQ(Parse({"--model=folder", "--weights=w4a16", "--kv-format=int8", "--wire-format=k8v4",
                   "--page-tokens=32", "--kv-bytes=2MiB", "--prefix-cache=off", "--router=host:81",
                   "--listen=0.0.0.0:0", "--advertise=me", "--drain-timeout=1.5",
                   "--lease-initial=7", "--log-format=json", "--trust-model-identity"},
                  o),
            "");
  EXPECT_EQ(o.model, "folder");
  EXPECT_EQ(o.weights, WeightFormat::kW4A16);
  EXPECT_EQ(o.kv_format.k, kernels::KvFormat::kInt8);
  ASSERT_TRUE(o.wire_format.has_value());
  EXPECT_EQ(o.wire_format->v, kernels::KvFormat::kInt4);
  EXPECT_EQ(o.page_tokens, 32);
  EXPECT_EQ(o.kv_bytes, 2u << 20);
  EXPECT_FALSE(o.prefix_cache);
  EXPECT_EQ(o.router, "host:81");
  EXPECT_EQ(o.drain_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(o.lease.initial, std::chrono::seconds(7));
  EXPECT_EQ(o.log_format, LogFormat::kJson);
  EXPECT_TRUE(o.trust_model_identity);
}

TEST(WorkerOptionsTest, WrongValuesAreRefusedByTheFlagsName) {
  const std::vector<std::string> wrong = {
      "--weights=w3a3",           "--kv-format=fp7",      "--wire-format=fp7",
      "--page-tokens=17",         "--prefix-cache=maybe", "--transport=nccl",
      "--transport=tcp",          "--router=host",        "--listen=:1",
      "--metrics-listen=a:70000", "--max-queue=0",        "--drain-timeout=-1",
      "--drain-timeout=soon",     "--log-format=xml",     "--log-level=loud",
      "--kv-memory-share=2"};
  for (const std::string& flag : wrong) {
    WorkerOptions o;
    const std::string error = Parse({"--model=folder", flag}, o);
    EXPECT_NE(error.find(flag.substr(0, flag.find('='))), std::string::npos)
        << flag << ": " << error;
  }
  WorkerOptions o;
  EXPECT_NE(Parse({}, o).find("--model"), std::string::npos);
  EXPECT_NE(Parse({"--model=m", "--local-prefill-max-tokens=5"}, o), "");
  EXPECT_NE(Parse({"--model=m", "--kv-bytes=1MiB", "--kv-memory-share=0.5"}, o), "");
}

TEST(WorkerOptionsTest, Endpoints) {
  EXPECT_TRUE(CheckEndpoint("--listen", "127.0.0.1:0").ok());
  EXPECT_TRUE(CheckEndpoint("--listen", "[::1]:65535").ok());
  for (const char* wrong : {"", "host", "host:", ":1", "host:65536", "host:1x", "host:-1"}) {
    EXPECT_FALSE(CheckEndpoint("--listen", wrong).ok()) << wrong;
  }
  EXPECT_EQ(HostOf("[::1]:8"), "[::1]");
}

TEST(WorkerOptionsTest, PagesFollowFromTheMemory) {
  WorkerOptions o;
  o.kv_bytes = 1000;
  EXPECT_EQ(*CountPages(o, 300), 3);
  EXPECT_EQ(CountPages(o, 1001).status().code(), absl::StatusCode::kResourceExhausted);
  o.kv_bytes = uint64_t{1} << 62;
  EXPECT_EQ(*CountPages(o, 64), std::numeric_limits<int32_t>::max());
  o.kv_memory_share = 0.5;
  EXPECT_GT(*CountPages(o, 4096), 1);
}

}  // namespace
}  // namespace baton
