#pragma once

#include <condition_variable>
#include <mutex>

#include "tests/fakes/fake_runner.h"

namespace baton {

// A FakeRunner whose steps stand still while the gate is closed. Thread-safe.
class GatedRunner : public ModelRunner {
 public:
  explicit GatedRunner(FakeRunner::Config config) : runner_(config) {}

  void CloseGate() { SetGate(false); }
  void OpenGate() { SetGate(true); }
  void SetGate(bool open) {
    std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  // Waits until a step stands before the closed gate; false when none came in time.
  bool AwaitStep(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [this] { return waiting_; });
  }

  const KvPages& kv() const override { return runner_.kv(); }
  absl::StatusOr<StepResult> Run(const Batch& batch) override {
    {
      std::unique_lock lock(mutex_);
      waiting_ = !open_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
      waiting_ = false;
    }
    return runner_.Run(batch);
  }
  absl::StatusOr<uint64_t> Pack(const KvBlock& block, kernels::KvFormats wire,
                                std::span<std::byte> payload) override {
    return runner_.Pack(block, wire, payload);
  }
  absl::StatusOr<uint64_t> Scatter(const KvBlock& block, kernels::KvFormats wire,
                                   std::span<const std::byte> payload) override {
    return runner_.Scatter(block, wire, payload);
  }

 private:
  FakeRunner runner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;      // guarded by mutex_
  bool waiting_ = false;  // guarded by mutex_
};

}  // namespace baton
