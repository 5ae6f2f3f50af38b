#include "common/handoff/ucx/ucx_transport.h"

#include <future>
#include <utility>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_core.h"
#include "common/handoff/ucx/wire.h"

namespace baton {
namespace ucx {
namespace {

absl::Status Closed() { return Cancelled("bulk transport: closed"); }

class UcxIncomingSlab final : public IncomingSlab {
 public:
  UcxIncomingSlab(std::shared_ptr<UcxCore> core, Announcement announcement)
      : core_(std::move(core)), announcement_(std::move(announcement)) {}
  ~UcxIncomingSlab() override {
    if (accepted_) return;
    // After Close there is nothing left to refuse.
    (void)core_->Post([core = core_.get(), id = announcement_.id] { core->incoming().Refuse(id); });
  }
  const BulkPeer& peer() const override { return *announcement_.peer; }
  const SlabHeaderBytes& header() const override { return announcement_.header; }
  size_t payload_bytes() const override { return announcement_.payload_bytes; }
  void Accept(std::span<std::byte> landing, std::function<void(absl::Status)> done) override {
    accepted_ = true;
    const bool posted = core_->Post([core = core_.get(), id = announcement_.id, landing, done] {
      core->incoming().Accept(id, landing, done);
    });
    if (!posted) done(Closed());
  }

 private:
  const std::shared_ptr<UcxCore> core_;
  const Announcement announcement_;
  bool accepted_ = false;
};

class UcxConnection final : public BulkConnection {
 public:
  UcxConnection(std::shared_ptr<UcxCore> core, uint64_t id) : core_(std::move(core)), id_(id) {}
  ~UcxConnection() override {
    // After Close the connection is gone already.
    (void)core_->Post([core = core_.get(), id = id_] { core->outgoing().Disconnect(id); });
  }
  void Send(const SlabHeaderBytes& header, std::span<const std::byte> payload,
            std::function<void(absl::Status)> done) override {
    const bool posted = core_->Post([core = core_.get(), id = id_, header, payload, done] {
      core->outgoing().Send(id, header, payload, done);
    });
    if (!posted) done(Closed());
  }

 private:
  const std::shared_ptr<UcxCore> core_;
  const uint64_t id_;
};

class UcxTransport final : public BulkTransport {
 public:
  explicit UcxTransport(std::shared_ptr<UcxCore> core) : core_(std::move(core)) {}
  ~UcxTransport() override { core_->Close(); }

  absl::Status RegisterArena(std::span<std::byte> arena) override { return core_->Register(arena); }

  absl::StatusOr<std::string> Listen(
      const std::string& endpoint,
      std::function<void(std::unique_ptr<IncomingSlab>)> sink) override {
    BATON_ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::Resolve(endpoint));
    auto deliver = [core = std::weak_ptr(core_), sink = std::move(sink)](Announcement announced) {
      // The core's own thread calls: the core is alive, and locking cannot fail.
      sink(std::make_unique<UcxIncomingSlab>(core.lock(), std::move(announced)));
    };
    std::promise<absl::StatusOr<int>> port;
    const bool posted =
        core_->Post([&] { port.set_value(core_->incoming().Listen(address, std::move(deliver))); });
    if (!posted) return Closed();
    BATON_ASSIGN_OR_RETURN(const int real_port, port.get_future().get());
    return fmt::format("{}:{}", address.host, real_port);
  }

  absl::StatusOr<std::unique_ptr<BulkConnection>> Connect(
      const std::string& endpoint, const BulkPeer& self,
      std::function<void(absl::Status)> on_lost) override {
    BATON_ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::Resolve(endpoint));
    BATON_ASSIGN_OR_RETURN(std::string hello, EncodeHello(self));
    const uint64_t id = core_->NewId();
    const bool posted = core_->Post([core = core_.get(), id, endpoint, address, hello, on_lost] {
      core->outgoing().Connect(id, endpoint, address, hello, on_lost);
    });
    if (!posted) return Closed();
    return std::make_unique<UcxConnection>(core_, id);
  }

  std::string Describe() const override {
    std::promise<std::string> text;
    if (!core_->Post([&] { text.set_value(core_->Describe()); })) {
      return fmt::format("ucx {}; closed", LibraryVersion());
    }
    return text.get_future().get();
  }

  void Close() override { core_->Close(); }

 private:
  const std::shared_ptr<UcxCore> core_;
};

}  // namespace
}  // namespace ucx

absl::StatusOr<std::unique_ptr<BulkTransport>> CreateUcxTransport(const UcxConfig& config) {
  BATON_ASSIGN_OR_RETURN(auto core, ucx::UcxCore::Create(config));
  return std::make_unique<ucx::UcxTransport>(std::move(core));
}

}  // namespace baton
