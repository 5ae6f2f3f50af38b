#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/thread.h"
#include "common/handoff/ucx/event_loop.h"
#include "common/handoff/ucx/incoming.h"
#include "common/handoff/ucx/outgoing.h"
#include "common/handoff/ucx/ucx_transport.h"
#include "common/handoff/ucx/ucx_worker.h"

namespace baton::ucx {

// The transport thread and all that it owns. Handles of the transport share it, so that one which
// outlives the transport finds a closed core rather than freed memory.
class UcxCore {
 public:
  static absl::StatusOr<std::shared_ptr<UcxCore>> Create(const UcxConfig& config);
  ~UcxCore() { Close(); }

  // Thread-safe. Runs the command on the transport thread; false after Close.
  [[nodiscard]] bool Post(std::function<void()> command) { return loop_->Post(std::move(command)); }
  absl::Status Register(std::span<std::byte> arena) { return worker_->Register(arena); }
  // Thread-safe; fresh for every call.
  uint64_t NewId() { return next_id_.fetch_add(1, std::memory_order_relaxed); }

  // Not from a callback of the transport. Idempotent.
  void Close();

  // For posted commands.
  Outgoing& outgoing() { return *outgoing_; }
  Incoming& incoming() { return *incoming_; }
  std::string Describe() const;

 private:
  UcxCore(const UcxConfig& config, std::unique_ptr<EventLoop> loop,
          std::unique_ptr<UcxWorker> worker);
  absl::Status SetHandlers();
  template <ucs_status_t (UcxCore::*handler)(ucp_ep_h, std::string_view, void*, size_t, uint64_t)>
  absl::Status SetHandler(unsigned id);
  ucs_status_t OnHello(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                       uint64_t flags);
  ucs_status_t OnWelcome(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                         uint64_t flags);
  ucs_status_t OnSlab(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                      uint64_t flags);

  void Run();
  bool Step();  // true when something was done
  void Rest();
  void ShutDown();

  const UcxConfig config_;
  RealClock clock_;
  const std::unique_ptr<EventLoop> loop_;
  const std::unique_ptr<UcxWorker> worker_;
  // The rest belongs to the transport thread.
  bool attention_ = false;
  bool stopping_ = false;
  TimePoint next_tend_;
  std::unique_ptr<Outgoing> outgoing_;
  std::unique_ptr<Incoming> incoming_;
  std::atomic<uint64_t> next_id_ = 1;
  std::mutex close_mutex_;  // one Close at a time
  Thread thread_;
};

}  // namespace baton::ucx
