#pragma once

#include <memory>
#include <vector>

#include "tests/net_cluster/client.h"
#include "tests/net_cluster/router_host.h"
#include "tests/net_cluster/worker_host.h"

namespace baton {

// A router with workers as real as one process allows: gRPC over loopback, UCX, threads, the real
// clock. Worker i of a role is "p<i>" or "d<i>".
class NetCluster {
 public:
  struct Options {
    int prefills = 2;
    int decodes = 2;
    NodeOptions prefill;  // of each; id and incarnation are set here
    NodeOptions decode;
    RouterHost::Options router;
  };
  // Two and two, int8 pages of 32 tokens on the decode side, fp16 pages of 16 on the other.
  static Options Defaults();

  // Returns when the router is ready and knows all workers.
  explicit NetCluster(Options options = Defaults());
  ~NetCluster() { calls_.clear(); }

  // A greedy request for `max_tokens` after a prompt of `prompt_tokens` that follows from `salt`.
  static v1::GenerateRequest Request(int prompt_tokens, uint32_t max_tokens, int salt = 0) {
    return Cluster::Request(prompt_tokens, max_tokens, salt);
  }
  // The call lives as long as the cluster.
  NetCall& Send(v1::GenerateRequest request, Duration timeout = std::chrono::minutes(2));
  // Sends and waits for the end.
  const ClientCall& Ask(v1::GenerateRequest request);

  RouterHost& router() { return *router_; }
  PrefillHost& p(int i) { return *prefills_.at(static_cast<size_t>(i)); }
  DecodeHost& d(int i) { return *decodes_.at(static_cast<size_t>(i)); }
  std::vector<WorkerHost*> workers();
  // Closes the gates of all prefill workers or opens them.
  void GatePrefill(bool closed) {
    for (const auto& worker : prefills_) worker->runner.SetGate(!closed);
  }
  // The prefill worker that stands before a closed gate, once one does.
  PrefillHost& AwaitPrefillStep();
  // A worker that has ended.
  void Drop(PrefillHost& worker);

  // Waits until nothing is live, held, leased or in flight anywhere, else fails the test.
  void ExpectQuiet();

  const Options options;

 private:
  std::unique_ptr<RouterHost> router_;
  std::vector<std::unique_ptr<PrefillHost>> prefills_;
  std::vector<std::unique_ptr<DecodeHost>> decodes_;
  rpc::ChannelPool channels_;
  std::vector<std::unique_ptr<NetCall>> calls_;
};

}  // namespace baton
