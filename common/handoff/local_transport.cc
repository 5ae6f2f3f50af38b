#include "common/handoff/local_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace local_transport_internal {

// One slab on its way. Settled exactly once, by whoever comes first: its landing, its refusal, or
// the end of the connection.
struct Passage {
  SlabHeaderBytes header;
  std::span<const std::byte> payload;
  int lane = 0;
  std::mutex mutex;
  std::function<void(absl::Status)> sent;    // null after settling; guarded by mutex
  std::function<void(absl::Status)> landed;  // set by Accept; guarded by mutex
  std::span<std::byte> landing;              // guarded by mutex

  void Settle(const absl::Status& status) {
    std::function<void(absl::Status)> sent_now, landed_now;
    {
      std::lock_guard lock(mutex);
      if (status.ok() && landed) std::memcpy(landing.data(), payload.data(), landing.size());
      sent_now.swap(sent);
      landed_now.swap(landed);
    }
    if (landed_now) landed_now(status);
    if (sent_now) sent_now(status);
  }
  // Takes where the payload shall land; false when it is settled already.
  bool Prepare(std::span<std::byte> target, const std::function<void(absl::Status)>& done) {
    std::lock_guard lock(mutex);
    if (sent == nullptr) return false;
    landing = target;
    landed = done;
    return true;
  }
  bool settled() {
    std::lock_guard lock(mutex);
    return sent == nullptr;
  }
};

struct Listener {
  std::mutex mutex;
  std::function<void(std::unique_ptr<IncomingSlab>)> sink;  // null once closed; guarded by mutex
  std::vector<std::weak_ptr<Channel>> channels;             // guarded by mutex

  std::function<void(std::unique_ptr<IncomingSlab>)> Sink() {
    std::lock_guard lock(mutex);
    return sink;
  }
};

// What the two ends of a connection share.
struct Channel {
  BulkPeer peer;
  InProcessLanes* lanes = nullptr;
  int lane = 0;
  std::mutex mutex;
  bool ended = false;                              // guarded by mutex
  std::function<void(absl::Status)> on_lost;       // guarded by mutex
  std::vector<std::shared_ptr<Passage>> passages;  // not settled when last seen; guarded by mutex

  // False when the connection has ended.
  bool Add(const std::shared_ptr<Passage>& passage) {
    std::lock_guard lock(mutex);
    if (ended) return false;
    std::erase_if(passages, [](const auto& old) { return old->settled(); });
    passages.push_back(passage);
    return true;
  }

  // Settles everything in flight; tells the sender unless it ended the connection itself.
  void End(const absl::Status& status, bool tell_sender) {
    std::vector<std::shared_ptr<Passage>> left;
    std::function<void(absl::Status)> lost;
    {
      std::lock_guard lock(mutex);
      if (ended) return;
      ended = true;
      left.swap(passages);
      lost.swap(on_lost);
    }
    for (auto& passage : left) passage->Settle(status);
    if (tell_sender && lost) lost(status);
  }
};

}  // namespace local_transport_internal

namespace {

using local_transport_internal::Channel;
using local_transport_internal::Listener;
using local_transport_internal::Passage;

class LocalIncoming : public IncomingSlab {
 public:
  LocalIncoming(std::shared_ptr<Channel> channel, std::shared_ptr<Passage> passage)
      : channel_(std::move(channel)), passage_(std::move(passage)) {}
  ~LocalIncoming() override {
    if (!accepted_) passage_->Settle(absl::OkStatus());
  }

  const BulkPeer& peer() const override { return channel_->peer; }
  const SlabHeaderBytes& header() const override { return passage_->header; }
  size_t payload_bytes() const override { return passage_->payload.size(); }

  void Accept(std::span<std::byte> landing, std::function<void(absl::Status)> done) override {
    BATON_CHECK(!accepted_ && landing.size() == payload_bytes());
    accepted_ = true;
    if (!passage_->Prepare(landing, done)) {
      return done(Cancelled("the connection of the slab has ended"));
    }
    channel_->lanes->Post(passage_->lane,
                          [passage = passage_] { passage->Settle(absl::OkStatus()); });
  }

 private:
  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Passage> passage_;
  bool accepted_ = false;
};

class LocalConnection : public BulkConnection {
 public:
  LocalConnection(std::shared_ptr<Channel> channel, std::shared_ptr<Listener> listener)
      : channel_(std::move(channel)), listener_(std::move(listener)) {}
  ~LocalConnection() override {
    channel_->End(Cancelled("the sender ended the connection"), /*tell_sender=*/false);
  }

  void Send(const SlabHeaderBytes& header, std::span<const std::byte> payload,
            std::function<void(absl::Status)> done) override {
    auto passage = std::make_shared<Passage>();
    passage->header = header;
    passage->payload = payload;
    passage->lane = channel_->lanes->NewLane();
    passage->sent = std::move(done);
    if (!channel_->Add(passage)) return passage->Settle(Unavailable("the connection has ended"));
    channel_->lanes->Post(channel_->lane, [channel = channel_, listener = listener_, passage] {
      if (passage->settled()) return;
      const auto sink = listener ? listener->Sink() : nullptr;
      if (!sink) return passage->Settle(Unavailable("the peer has closed"));
      sink(std::make_unique<LocalIncoming>(channel, passage));
    });
  }

 private:
  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Listener> listener_;
};

}  // namespace

absl::Status LocalTransport::RegisterArena(std::span<std::byte>) { return absl::OkStatus(); }

absl::StatusOr<std::string> LocalTransport::Listen(
    const std::string& endpoint, std::function<void(std::unique_ptr<IncomingSlab>)> sink) {
  auto listener = std::make_shared<Listener>();
  listener->sink = std::move(sink);
  std::scoped_lock lock(mutex_, fabric_.mutex_);
  if (listener_) return FailedPrecondition("listens at '{}' already", listening_);
  if (!fabric_.listeners_.emplace(endpoint, listener).second) {
    return AlreadyExists("endpoint '{}' is taken", endpoint);
  }
  listening_ = endpoint;
  listener_ = std::move(listener);
  return endpoint;
}

absl::StatusOr<std::unique_ptr<BulkConnection>> LocalTransport::Connect(
    const std::string& endpoint, const BulkPeer& self, std::function<void(absl::Status)> on_lost) {
  if (endpoint.empty()) return InvalidArgument("endpoint: empty, expected a name");
  auto channel = std::make_shared<Channel>();
  channel->peer = self;
  channel->lanes = &fabric_.lanes_;
  channel->lane = fabric_.lanes_.NewLane();
  channel->on_lost = std::move(on_lost);
  std::shared_ptr<Listener> listener;
  {
    std::scoped_lock lock(mutex_, fabric_.mutex_);
    if (auto found = fabric_.listeners_.find(endpoint); found != fabric_.listeners_.end()) {
      listener = found->second;
    }
    std::erase_if(channels_, [](const auto& old) { return old.expired(); });
    channels_.push_back(channel);
  }
  auto connection = std::make_unique<LocalConnection>(channel, listener);
  if (listener) {
    std::lock_guard lock(listener->mutex);
    std::erase_if(listener->channels, [](const auto& old) { return old.expired(); });
    listener->channels.push_back(channel);
  } else {
    fabric_.lanes_.Post(channel->lane, [channel, endpoint] {
      channel->End(Unavailable("nothing listens at '{}'", endpoint), /*tell_sender=*/true);
    });
  }
  return connection;
}

void LocalTransport::Close() {
  std::shared_ptr<Listener> listener;
  std::vector<std::weak_ptr<Channel>> outgoing, incoming;
  {
    std::scoped_lock lock(mutex_, fabric_.mutex_);
    listener = std::exchange(listener_, nullptr);
    if (listener) fabric_.listeners_.erase(listening_);
    outgoing.swap(channels_);
  }
  if (listener) {
    std::lock_guard lock(listener->mutex);
    listener->sink = nullptr;
    incoming.swap(listener->channels);
  }
  for (auto& weak : outgoing) {
    if (auto channel = weak.lock()) channel->End(Cancelled("the transport has closed"), false);
  }
  for (auto& weak : incoming) {
    if (auto channel = weak.lock()) channel->End(Unavailable("the peer has closed"), true);
  }
}

}  // namespace baton
