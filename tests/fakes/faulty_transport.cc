#include "tests/fakes/faulty_transport.h"

#include <utility>
#include <vector>

#include "common/base/status.h"

namespace baton {

struct FaultyTransport::Shared {
  Faults faults;
  Counts counts;
  std::mt19937_64 rng;
  std::vector<std::function<void()>> held;

  bool Strikes(double chance) {
    return chance > 0 && std::uniform_real_distribution<double>(0, 1)(rng) < chance;
  }
  size_t Below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(rng); }
};

namespace {

using Done = std::function<void(absl::Status)>;

}  // namespace

class FaultyTransport::Connection : public BulkConnection {
 public:
  Connection(std::shared_ptr<Shared> shared, std::shared_ptr<BulkConnection> inner, Done on_lost)
      : shared_(std::move(shared)), inner_(std::move(inner)), on_lost_(std::move(on_lost)) {}

  void Send(const SlabHeaderBytes& header, std::span<const std::byte> payload, Done done) override {
    if (inner_ == nullptr) return done(Unavailable("the connection was cut"));
    Shared& shared = *shared_;
    const Faults& faults = shared.faults;
    if (shared.Strikes(faults.drop)) {
      ++shared.counts.drop;
      done(absl::OkStatus());
    } else if (shared.Strikes(faults.hold)) {
      ++shared.counts.hold;
      Hold(header, payload, std::move(done));
    } else if (shared.Strikes(faults.duplicate)) {
      ++shared.counts.duplicate;
      SendCopy(header, {payload.begin(), payload.end()}, [](absl::Status) {});
      inner_->Send(header, payload, std::move(done));
    } else if (shared.Strikes(faults.truncate)) {
      ++shared.counts.truncate;
      SendCopy(header, {payload.begin(), payload.end() - 1 - shared.Below(payload.size())},
               std::move(done));
    } else if (shared.Strikes(faults.corrupt_payload)) {
      ++shared.counts.corrupt;
      std::vector<std::byte> bytes(payload.begin(), payload.end());
      FlipBit(bytes);
      SendCopy(header, std::move(bytes), std::move(done));
    } else if (shared.Strikes(faults.corrupt_header)) {
      ++shared.counts.corrupt;
      SlabHeaderBytes bytes = header;
      FlipBit(bytes);
      inner_->Send(bytes, payload, std::move(done));
    } else if (shared.Strikes(faults.cut)) {
      ++shared.counts.cut;
      inner_.reset();
      done(Unavailable("the connection was cut"));
      if (on_lost_) on_lost_(Unavailable("the connection was cut"));
    } else {
      inner_->Send(header, payload, std::move(done));
    }
  }

 private:
  void FlipBit(std::span<std::byte> bytes) {
    if (bytes.empty()) return;
    bytes[shared_->Below(bytes.size())] ^= std::byte{1} << shared_->Below(8);
  }

  // Sends bytes of its own, which live until the inner transport is done with them.
  void SendCopy(const SlabHeaderBytes& header, std::vector<std::byte> bytes, Done done) {
    auto owned = std::make_shared<std::vector<std::byte>>(std::move(bytes));
    inner_->Send(header, *owned, [owned, done = std::move(done)](absl::Status s) { done(s); });
  }

  void Hold(const SlabHeaderBytes& header, std::span<const std::byte> payload, Done done) {
    shared_->held.push_back(
        [weak = std::weak_ptr<BulkConnection>(inner_), header, payload, done = std::move(done)] {
          if (auto inner = weak.lock()) {
            inner->Send(header, payload, done);
          } else {
            done(Cancelled("the connection has ended"));
          }
        });
  }

  const std::shared_ptr<Shared> shared_;
  std::shared_ptr<BulkConnection> inner_;  // null once cut
  const Done on_lost_;
};

FaultyTransport::FaultyTransport(BulkTransport& inner, Faults faults, uint64_t seed)
    : inner_(inner), shared_(std::make_shared<Shared>()) {
  shared_->faults = faults;
  shared_->rng.seed(seed);
}

FaultyTransport::~FaultyTransport() { Close(); }

absl::Status FaultyTransport::RegisterArena(std::span<std::byte> arena) {
  return inner_.RegisterArena(arena);
}

absl::StatusOr<std::string> FaultyTransport::Listen(
    const std::string& endpoint, std::function<void(std::unique_ptr<IncomingSlab>)> sink) {
  return inner_.Listen(endpoint, std::move(sink));
}

absl::StatusOr<std::unique_ptr<BulkConnection>> FaultyTransport::Connect(
    const std::string& endpoint, const BulkPeer& self, Done on_lost) {
  BATON_ASSIGN_OR_RETURN(std::shared_ptr<BulkConnection> inner,
                         inner_.Connect(endpoint, self, on_lost));
  return std::make_unique<Connection>(shared_, std::move(inner), std::move(on_lost));
}

void FaultyTransport::Close() {
  while (Release()) {
  }
  inner_.Close();
}

void FaultyTransport::set_faults(Faults faults) { shared_->faults = faults; }

bool FaultyTransport::Release() {
  auto& held = shared_->held;
  if (held.empty()) return false;
  const size_t chosen = shared_->Below(held.size());
  auto send = std::move(held[chosen]);
  held.erase(held.begin() + static_cast<std::ptrdiff_t>(chosen));
  send();
  return true;
}

int FaultyTransport::held() const { return static_cast<int>(shared_->held.size()); }

const FaultyTransport::Counts& FaultyTransport::counts() const { return shared_->counts; }

}  // namespace baton
