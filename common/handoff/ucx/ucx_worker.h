#pragma once

#include <ucp/api/ucp.h>

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"

namespace baton::ucx {

// A registered arena, as operations on its bytes need it.
struct RegisteredMemory {
  ucp_mem_h handle;
  ucs_memory_type_t type;
};

// UCX's context and its one worker. The worker belongs to the transport thread; registering memory
// is thread-safe.
class UcxWorker {
 public:
  struct Config {
    Duration keepalive_interval;
    // Settings of UCX by name without "UCX_", over those of the environment.
    std::vector<std::pair<std::string, std::string>> settings;
  };
  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(const Config& config);
  ~UcxWorker();

  ucp_worker_h handle() const { return worker_; }
  int event_fd() const { return event_fd_; }
  size_t max_message_header() const { return max_message_header_; }

  // Ends the worker: no callback of UCX runs after it. Memory stays registered until destruction.
  void DestroyWorker();

  absl::Status Register(std::span<std::byte> memory);
  // INVALID_ARGUMENT unless one registered arena holds all of [data, data + bytes).
  absl::StatusOr<RegisteredMemory> Find(const std::byte* data, size_t bytes) const;

 private:
  struct Arena {
    const std::byte* end;
    RegisteredMemory memory;
  };
  UcxWorker() = default;
  absl::Status CreateContext(const Config& config);
  absl::Status CreateWorker();

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;  // owned by the worker
  size_t max_message_header_ = 0;
  mutable std::mutex mutex_;
  std::map<const std::byte*, Arena> arenas_;  // by begin; guarded by mutex_
};

// "1.22.0"
std::string LibraryVersion();

}  // namespace baton::ucx
