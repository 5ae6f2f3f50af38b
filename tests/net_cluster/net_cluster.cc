#include "tests/net_cluster/net_cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr Duration kPatience = std::chrono::seconds(60);

template <typename Host>
std::unique_ptr<Host> MakeHost(NodeOptions options, const char* role, int number,
                               const std::string& router) {
  options.id = fmt::format("{}{}", role, number);
  options.incarnation = static_cast<uint64_t>(number) + (role[0] == 'p' ? 100 : 200);
  return std::make_unique<Host>(std::move(options), router);
}

}  // namespace

NetCluster::Options NetCluster::Defaults() {
  Options options;
  options.prefill.scheme = "w8a8";
  options.decode.scheme = "w4a16";
  options.decode.runner.resident = {kernels::KvFormat::kInt8, kernels::KvFormat::kInt8};
  options.decode.runner.page_tokens = 32;
  return options;
}

NetCluster::NetCluster(Options o)
    : options(std::move(o)), router_(std::make_unique<RouterHost>(options.router)) {
  for (int i = 0; i < options.prefills; ++i) {
    prefills_.push_back(MakeHost<PrefillHost>(options.prefill, "p", i, router_->endpoint()));
  }
  for (int i = 0; i < options.decodes; ++i) {
    decodes_.push_back(MakeHost<DecodeHost>(options.decode, "d", i, router_->endpoint()));
  }
  const int expected = options.prefills + options.decodes;
  EXPECT_TRUE(router_->thread.Await(
      [this, expected] {
        const v1::GetLoadResponse load = router_->router().Load();
        return std::count_if(load.workers().begin(), load.workers().end(), [](const auto& worker) {
                 return worker.state() == "ready";
               }) == expected;
      },
      kPatience));
}

NetCall& NetCluster::Send(v1::GenerateRequest request, Duration timeout) {
  calls_.push_back(std::make_unique<NetCall>(channels_, router_->endpoint(), std::move(request),
                                             options.prefill.runner,
                                             router_->clock.Now() + timeout));
  return *calls_.back();
}

const ClientCall& NetCluster::Ask(v1::GenerateRequest request) {
  NetCall& call = Send(std::move(request));
  EXPECT_TRUE(call.AwaitEnd());
  return call.result();
}

std::vector<WorkerHost*> NetCluster::workers() {
  std::vector<WorkerHost*> all;
  for (const auto& worker : prefills_) all.push_back(worker.get());
  for (const auto& worker : decodes_) all.push_back(worker.get());
  return all;
}

PrefillHost& NetCluster::AwaitPrefillStep() {
  const TimePoint deadline = router_->clock.Now() + kPatience;
  while (router_->clock.Now() < deadline) {
    for (const auto& worker : prefills_) {
      if (worker->runner.AwaitStep(std::chrono::milliseconds(20))) return *worker;
    }
  }
  ADD_FAILURE() << "no prefill worker was asked";
  return *prefills_.front();
}

void NetCluster::Drop(PrefillHost& worker) {
  std::erase_if(prefills_, [&](const auto& entry) { return entry.get() == &worker; });
}

void NetCluster::ExpectQuiet() {
  EXPECT_TRUE(router_->thread.Await([this] { return router_->router().idle(); }, kPatience));
  for (WorkerHost* worker : workers()) {
    EXPECT_TRUE(worker->thread.Await([worker] { return worker->idle(); }, kPatience))
        << worker->id();
  }
}

}  // namespace baton
