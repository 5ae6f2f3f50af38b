#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_transport.h"
#include "tests/common/handoff/ucx/pattern.h"

namespace baton::ucx {

// Collects values from transport threads; waits are bounded.
template <typename T>
class Inbox {
 public:
  void Put(T value) {
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();
  }
  // Waits until `count` values are there and takes all; fewer after `limit`.
  std::vector<T> Take(size_t count, std::chrono::seconds limit = std::chrono::seconds(30)) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [&] { return values_.size() >= count; });
    return std::exchange(values_, {});
  }
  std::function<void(T)> Putter() {
    return [this](T value) { Put(std::move(value)); };
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> values_;
};

using Statuses = Inbox<absl::Status>;
using Slabs = Inbox<std::unique_ptr<IncomingSlab>>;

inline std::unique_ptr<BulkTransport> MakeTransport(UcxConfig config = {}) {
  auto transport = CreateUcxTransport(config);
  EXPECT_TRUE(transport.ok()) << transport.status();
  return transport.ok() ? *std::move(transport) : nullptr;
}

inline BulkPeer Self() { return {WorkerId("prefill-0"), Incarnation(42)}; }

// A transport that listens and keeps what is announced, with a registered arena. The arena is
// declared first: it must outlive what may land in it.
struct Receiver {
  explicit Receiver(size_t arena_bytes = size_t{32} << 20, UcxConfig config = {})
      : arena(arena_bytes), transport(MakeTransport(config)) {
    EXPECT_TRUE(transport->RegisterArena(arena).ok());
    auto listening = transport->Listen("127.0.0.1:0", slabs.Putter());
    EXPECT_TRUE(listening.ok()) << listening.status();
    endpoint = listening.value_or("");
  }
  std::vector<std::byte> arena;
  Slabs slabs;
  std::unique_ptr<BulkTransport> transport;
  std::string endpoint;
};

struct Sender {
  explicit Sender(const std::string& endpoint, size_t arena_bytes = size_t{32} << 20,
                  UcxConfig config = {})
      : arena(arena_bytes), transport(MakeTransport(config)) {
    EXPECT_TRUE(transport->RegisterArena(arena).ok());
    auto connected = transport->Connect(endpoint, Self(), lost.Putter());
    EXPECT_TRUE(connected.ok()) << connected.status();
    if (connected.ok()) connection = *std::move(connected);
  }
  void Send(uint64_t seed, std::span<std::byte> payload) {
    Fill(seed, payload);
    connection->Send(SeedHeader(seed), payload, done.Putter());
  }
  std::vector<std::byte> arena;
  Statuses lost, done;
  std::unique_ptr<BulkTransport> transport;
  std::unique_ptr<BulkConnection> connection;
};

}  // namespace baton::ucx
