#include "tests/bench/router/load.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "common/base/clock.h"
#include "common/rpc/services.h"

namespace baton {
namespace {

using Stream = EventStream<v1::GenerateRequest, v1::GenerateResponse>;

v1::GenerateRequest MakeRequest(uint32_t tokens) {
  v1::GenerateRequest request;
  for (int i = 0; i < 32; ++i) request.mutable_token_ids()->add_ids(300 + i);
  request.set_max_tokens(tokens);
  return request;
}

// Keeps `concurrency` calls in flight; the main thread starts each.
class Load {
 public:
  Load(rpc::ChannelPool& channels, const std::string& endpoint, int concurrency, uint32_t tokens)
      : open_(rpc::GenerateOpener(channels)),
        endpoint_(endpoint),
        request_(MakeRequest(tokens)),
        slots_(static_cast<size_t>(concurrency)) {
    for (size_t i = 0; i < slots_.size(); ++i) free_.push_back(i);
  }

  LoadResult Run(int requests) {
    const TimePoint start = clock_.Now();
    for (int i = 0; i < requests; ++i) {
      const size_t slot = Take();
      slots_[slot].stream.reset();
      slots_[slot].start = clock_.Now();
      slots_[slot].stream = open_(endpoint_, TimePoint::max(), [this, slot](auto event) {
        if (auto* closed = std::get_if<StreamClosed>(&event)) Done(slot, closed->status.ok());
      });
      slots_[slot].stream->Send(request_).IgnoreError();
      slots_[slot].stream->Close(absl::OkStatus());
    }
    for (size_t i = 0; i < slots_.size(); ++i) Take();
    result_.seconds = Seconds(clock_.Now() - start);
    return std::move(result_);
  }

 private:
  struct Slot {
    std::unique_ptr<Stream> stream;
    TimePoint start;
  };

  size_t Take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !free_.empty(); });
    const size_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void Done(size_t slot, bool ok) {
    const double us = 1000 * Milliseconds(clock_.Now() - slots_[slot].start);
    {
      std::lock_guard lock(mutex_);
      result_.latency_us.push_back(us);
      result_.failed += !ok;
      free_.push_back(slot);
    }
    ready_.notify_one();
  }

  RealClock clock_;
  const StreamOpener<v1::GenerateRequest, v1::GenerateResponse> open_;
  const std::string endpoint_;
  const v1::GenerateRequest request_;
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<size_t> free_;  // guarded by mutex_
  LoadResult result_;         // guarded by mutex_
};

}  // namespace

double LoadResult::median_us() const {
  std::vector<double> sorted = latency_us;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  return sorted[sorted.size() / 2];
}

LoadResult RunLoad(rpc::ChannelPool& channels, const std::string& endpoint, int requests,
                   int concurrency, uint32_t tokens) {
  return Load(channels, endpoint, concurrency, tokens).Run(requests);
}

struct HeldStreams::Streams {
  std::vector<std::unique_ptr<Stream>> open;
  std::mutex mutex;
  std::condition_variable changed;
  int started = 0;  // guarded by mutex
  int ended = 0;    // guarded by mutex
};

HeldStreams::HeldStreams(rpc::ChannelPool& channels, const std::string& endpoint, int count)
    : streams_(std::make_unique<Streams>()) {
  const auto open = rpc::GenerateOpener(channels);
  for (int i = 0; i < count; ++i) {
    streams_->open.push_back(open(endpoint, TimePoint::max(), [s = streams_.get()](auto event) {
      {
        std::lock_guard lock(s->mutex);
        ++(std::holds_alternative<StreamClosed>(event) ? s->ended : s->started);
      }
      s->changed.notify_one();
    }));
    streams_->open.back()->Send(MakeRequest(16)).IgnoreError();
    streams_->open.back()->Close(absl::OkStatus());
  }
  std::unique_lock lock(streams_->mutex);
  streams_->changed.wait_for(lock, std::chrono::seconds(20), [this, count] {
    return streams_->started + streams_->ended >= count;
  });
  started_ = streams_->started;
}

HeldStreams::~HeldStreams() = default;

}  // namespace baton
