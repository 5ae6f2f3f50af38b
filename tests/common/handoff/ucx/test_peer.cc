// The other process of the two-process tests. Says what it does on standard output, one line each,
// and lives until its standard input closes or it is killed.
//   test_peer send ENDPOINT BYTES...   sends slabs, seed = index; "done INDEX STATUS" for each
//   test_peer receive                  prints "endpoint E", accepts all; "landed SEED WRONG STATUS"
//   test_peer hold                     as receive, but answers no announcement; "announced SEED"
// Both print "fabric TEXT" when asked by a line on standard input.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_transport.h"
#include "tests/common/handoff/ucx/pattern.h"

namespace baton::ucx {
namespace {

class Output {
 public:
  void Line(const std::string& text) {
    std::lock_guard lock(mutex_);
    std::puts(text.c_str());
    std::fflush(stdout);
  }

 private:
  std::mutex mutex_;
};

void AnswerUntilEnd(BulkTransport& transport, Output& out) {
  for (std::string line; std::getline(std::cin, line);) out.Line("fabric " + transport.Describe());
}

int Send(BulkTransport& transport, Output& out, const std::vector<std::string>& arguments) {
  std::vector<std::vector<std::byte>> payloads;
  for (size_t i = 1; i < arguments.size(); ++i) {
    payloads.emplace_back(std::stoul(arguments[i]));
    Fill(i - 1, payloads.back());
    if (!transport.RegisterArena(payloads.back()).ok()) return 2;
  }
  auto connection = transport.Connect(
      arguments[0], {WorkerId("sender"), Incarnation(77)},
      [&](absl::Status status) { out.Line(fmt::format("lost {}", ToString(status))); });
  if (!connection.ok()) return 3;
  for (size_t i = 0; i < payloads.size(); ++i) {
    (*connection)->Send(SeedHeader(i), payloads[i], [&out, i](absl::Status status) {
      out.Line(fmt::format("done {} {}", i, ToString(status)));
    });
  }
  AnswerUntilEnd(transport, out);
  transport.Close();
  return 0;
}

int Receive(BulkTransport& transport, Output& out, bool hold) {
  constexpr size_t kArenaBytes = size_t{64} << 20;
  std::vector<std::byte> arena(kArenaBytes);
  if (!transport.RegisterArena(arena).ok()) return 2;
  size_t used = 0;
  std::vector<std::unique_ptr<IncomingSlab>> held;
  const auto endpoint = transport.Listen("127.0.0.1:0", [&](std::unique_ptr<IncomingSlab> slab) {
    const uint64_t seed = SeedOf(slab->header());
    if (hold) {
      out.Line(fmt::format("announced {}", seed));
      held.push_back(std::move(slab));
      return;
    }
    if (used + slab->payload_bytes() > kArenaBytes) used = 0;
    const std::span<std::byte> span(arena.data() + used, slab->payload_bytes());
    used += span.size();
    slab->Accept(span, [&out, seed, span](absl::Status status) {
      const size_t wrong = FirstWrong(seed, span);
      out.Line(fmt::format("landed {} {} {}", seed, span.size() - wrong, ToString(status)));
    });
  });
  if (!endpoint.ok()) return 3;
  out.Line("endpoint " + *endpoint);
  AnswerUntilEnd(transport, out);
  transport.Close();
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  auto transport = CreateUcxTransport({});
  if (!transport.ok()) {
    std::cerr << ToString(transport.status()) << "\n";
    return 1;
  }
  Output out;
  if (arguments[0] == "send") {
    return Send(**transport, out, {arguments.begin() + 1, arguments.end()});
  }
  return Receive(**transport, out, arguments[0] == "hold");
}

}  // namespace
}  // namespace baton::ucx

int main(int argc, char** argv) { return baton::ucx::Main({argv + 1, argv + argc}); }
