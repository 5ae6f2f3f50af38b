// Peers that break the rules, built from UCX's own calls.
#include <gmock/gmock.h>

#include "common/handoff/ucx/ucx_endpoint.h"
#include "common/handoff/ucx/ucx_worker.h"
#include "common/handoff/ucx/wire.h"
#include "tests/common/handoff/ucx/harness.h"

namespace baton::ucx {
namespace {

class Hostile {
 public:
  explicit Hostile(const std::string& endpoint)
      : worker_(*UcxWorker::Create({std::chrono::seconds(2), {}})),
        endpoint_(*UcxEndpoint::Connect(worker_->handle(), *SocketAddress::Resolve(endpoint),
                                        &attention_)) {
    ucp_am_handler_param_t welcome{};
    welcome.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB;
    welcome.id = static_cast<unsigned>(MessageId::kWelcome);
    welcome.cb = [](void*, const void*, size_t, void*, size_t, const ucp_am_recv_param_t*) {
      return UCS_OK;
    };
    EXPECT_EQ(ucp_worker_set_am_recv_handler(worker_->handle(), &welcome), UCS_OK);
  }
  ~Hostile() {
    endpoint_->StartClose();
    const TimePoint limit = RealClock().Now() + std::chrono::seconds(30);
    while (!endpoint_->closed() && RealClock().Now() < limit) {
      ucp_worker_progress(worker_->handle());
    }
    worker_->DestroyWorker();
  }

  void SendHeader(MessageId id, std::string header) {
    endpoint_->SendHeader(static_cast<unsigned>(id), std::move(header));
  }
  void SendSlab(size_t header_bytes, size_t payload_bytes, unsigned flags) {
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK;
    param.flags = flags;
    param.cb.send = [](void* request, ucs_status_t, void*) { ucp_request_free(request); };
    ucp_am_send_nbx(endpoint_->handle(), static_cast<unsigned>(MessageId::kSlab), header_.data(),
                    header_bytes, payload_.data(), payload_bytes, &param);
  }
  // True when the receiver cut the connection.
  bool WasCut() {
    const TimePoint limit = RealClock().Now() + std::chrono::seconds(30);
    while (endpoint_->error() == UCS_OK && RealClock().Now() < limit) {
      ucp_worker_progress(worker_->handle());
    }
    return endpoint_->error() != UCS_OK;
  }
  void Progress() {
    for (int i = 0; i < 1000; ++i) ucp_worker_progress(worker_->handle());
  }

 private:
  bool attention_ = false;
  std::vector<char> header_ = std::vector<char>(4096, 'h');
  std::vector<char> payload_ = std::vector<char>(1 << 20, 'p');
  std::unique_ptr<UcxWorker> worker_;
  std::unique_ptr<UcxEndpoint> endpoint_;
};

constexpr unsigned kRendezvous = UCP_AM_SEND_FLAG_RNDV | UCP_AM_SEND_FLAG_REPLY;
constexpr unsigned kEager = UCP_AM_SEND_FLAG_EAGER | UCP_AM_SEND_FLAG_REPLY;

// A good sender still gets through.
void ExpectAlive(Receiver& receiver) {
  EXPECT_EQ(receiver.slabs.size(), 0u);
  Sender sender(receiver.endpoint, 4096);
  sender.Send(9, sender.arena);
  auto slabs = receiver.slabs.Take(1);
  ASSERT_EQ(slabs.size(), 1u);
  EXPECT_EQ(SeedOf(slabs[0]->header()), 9u);
}

TEST(HostilePeer, AFirstMessageThatIsNoHelloIsCut) {
  Receiver receiver(4096);
  const std::string good = *EncodeHello(Self());
  std::string other_version = good;
  other_version[4] = 9;
  for (const std::string& hello :
       {std::string("x"), good.substr(0, 19), good + "tail", other_version, std::string(300, 0)}) {
    Hostile peer(receiver.endpoint);
    peer.SendHeader(MessageId::kHello, hello);
    EXPECT_TRUE(peer.WasCut()) << hello.size();
  }
  ExpectAlive(receiver);
}

TEST(HostilePeer, ASecondHelloIsCut) {
  Receiver receiver(4096);
  Hostile peer(receiver.endpoint);
  peer.SendHeader(MessageId::kHello, *EncodeHello(Self()));
  peer.SendHeader(MessageId::kHello, *EncodeHello(Self()));
  EXPECT_TRUE(peer.WasCut());
  ExpectAlive(receiver);
}

TEST(HostilePeer, ASlabBeforeHelloIsCut) {
  Receiver receiver(4096);
  Hostile peer(receiver.endpoint);
  peer.SendSlab(kSlabHeaderBytes, 1000, kRendezvous);
  EXPECT_TRUE(peer.WasCut());
  ExpectAlive(receiver);
}

TEST(HostilePeer, OddHeadersAndSizesAreCut) {
  UcxConfig config;
  config.max_payload_bytes = 100'000;
  Receiver receiver(4096, config);
  const std::pair<size_t, size_t> odd[] = {{kSlabHeaderBytes - 1, 1000},
                                           {kSlabHeaderBytes + 1, 1000},
                                           {0, 1000},
                                           {kSlabHeaderBytes, 0},
                                           {kSlabHeaderBytes, 100'001}};
  for (const auto& [header_bytes, payload_bytes] : odd) {
    Hostile peer(receiver.endpoint);
    peer.SendHeader(MessageId::kHello, *EncodeHello(Self()));
    peer.SendSlab(header_bytes, payload_bytes, payload_bytes == 0 ? kEager : kRendezvous);
    EXPECT_TRUE(peer.WasCut()) << header_bytes << " " << payload_bytes;
  }
  ExpectAlive(receiver);
}

TEST(HostilePeer, APayloadSentAtOnceStillLandsOnlyWhereTheReceiverSays) {
  Receiver receiver;
  Hostile peer(receiver.endpoint);
  peer.SendHeader(MessageId::kHello, *EncodeHello(Self()));
  std::vector<std::unique_ptr<IncomingSlab>> slabs;
  for (size_t bytes : {size_t{100}, size_t{200'000}}) {
    peer.SendSlab(kSlabHeaderBytes, bytes, kEager);
    for (int i = 0; i < 10'000 && slabs.empty(); ++i) {
      peer.Progress();
      slabs = receiver.slabs.Take(1, std::chrono::seconds(0));
    }
    ASSERT_EQ(slabs.size(), 1u);
    ASSERT_EQ(slabs[0]->payload_bytes(), bytes);
    EXPECT_EQ(receiver.arena[0], std::byte{0});
    Statuses landed;
    const std::span<std::byte> landing = std::span(receiver.arena).subspan(1000, bytes);
    slabs[0]->Accept(landing, landed.Putter());
    EXPECT_EQ(landed.Take(1), std::vector{absl::OkStatus()});
    EXPECT_EQ(landing.back(), std::byte{'p'});
    EXPECT_EQ(receiver.arena[999], std::byte{0});
    slabs.clear();
  }
}

TEST(HostilePeer, SilenceIsCutAfterTheTimeout) {
  UcxConfig config;
  config.connect_timeout = std::chrono::milliseconds(300);
  Receiver receiver(4096, config);
  Hostile peer(receiver.endpoint);
  EXPECT_TRUE(peer.WasCut());
}

TEST(HostilePeer, AWelcomeThatNobodyAskedForIsIgnored) {
  Receiver receiver(4096);
  Hostile peer(receiver.endpoint);
  peer.SendHeader(MessageId::kWelcome, EncodeWelcome(true));
  peer.Progress();
  ExpectAlive(receiver);
}

}  // namespace
}  // namespace baton::ucx
