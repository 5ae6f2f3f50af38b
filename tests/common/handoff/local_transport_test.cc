#include "common/handoff/local_transport.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "tests/fakes/faulty_transport.h"

namespace baton {
namespace {

class LocalTransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(receiver
                    .Listen("kv",
                            [this](std::unique_ptr<IncomingSlab> slab) {
                              incoming.push_back(std::move(slab));
                            })
                    .ok());
    for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<std::byte>(i);
  }
  std::unique_ptr<BulkConnection> Connect(BulkTransport& from, const std::string& to = "kv") {
    return from
        .Connect(to, {WorkerId("p"), Incarnation(3)},
                 [this](absl::Status status) { lost = status; })
        .value();
  }
  void Send(BulkConnection& connection, uint8_t tag = 0) {
    SlabHeaderBytes header{};
    header[0] = std::byte{tag};
    connection.Send(header, payload, [this](absl::Status status) { sent.push_back(status); });
  }
  void Accept(size_t index) {
    landing.assign(incoming[index]->payload_bytes(), std::byte{0xEE});
    incoming[index]->Accept(landing, [this](absl::Status status) { landed.push_back(status); });
  }

  InProcessLanes lanes{InProcessLanes::Mode::kStepped};
  LocalFabric fabric{lanes};
  LocalTransport receiver{fabric}, sender{fabric};
  std::vector<std::unique_ptr<IncomingSlab>> incoming;
  std::vector<std::byte> payload = std::vector<std::byte>(100);
  std::vector<std::byte> landing;
  std::vector<absl::Status> sent, landed;
  std::optional<absl::Status> lost;
};

TEST_F(LocalTransportTest, ReceiverChoosesWhereAndWhen) {
  auto connection = Connect(sender);
  Send(*connection, 9);
  EXPECT_TRUE(incoming.empty());
  lanes.DeliverAll();
  ASSERT_EQ(incoming.size(), 1u);
  EXPECT_EQ(incoming[0]->peer().worker, WorkerId("p"));
  EXPECT_EQ(incoming[0]->header()[0], std::byte{9});
  Accept(0);
  incoming.clear();  // the handle may go once it is accepted
  EXPECT_TRUE(landed.empty());
  lanes.DeliverAll();
  ASSERT_EQ(landed.size(), 1u);
  EXPECT_TRUE(landed[0].ok());
  EXPECT_EQ(landing, payload);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].ok());
}

TEST_F(LocalTransportTest, RefusedSlabCompletesOk) {
  auto connection = Connect(sender);
  Send(*connection);
  lanes.DeliverAll();
  incoming.clear();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].ok());
  EXPECT_TRUE(landed.empty());
}

TEST_F(LocalTransportTest, EndOfTheConnectionSettlesBothSidesWithoutWriting) {
  auto connection = Connect(sender);
  Send(*connection);
  lanes.DeliverAll();
  Accept(0);
  connection.reset();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(landed.size(), 1u);
  EXPECT_FALSE(landed[0].ok());
  lanes.DeliverAll();
  EXPECT_EQ(landing[0], std::byte{0xEE});
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_FALSE(lost);
}

TEST_F(LocalTransportTest, AcceptAfterTheEndFailsAtOnce) {
  auto connection = Connect(sender);
  Send(*connection);
  lanes.DeliverAll();
  connection.reset();
  Accept(0);
  ASSERT_EQ(landed.size(), 1u);
  EXPECT_EQ(landed[0].code(), absl::StatusCode::kCancelled);
}

TEST_F(LocalTransportTest, ClosedReceiverIsLost) {
  auto connection = Connect(sender);
  Send(*connection);
  receiver.Close();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(lost);
  Send(*connection);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_FALSE(sent[1].ok());
  lanes.DeliverAll();
  EXPECT_TRUE(incoming.empty());
}

TEST_F(LocalTransportTest, NobodyListensIsUnavailable) {
  EXPECT_FALSE(sender.Connect("", {}, {}).ok());
  auto connection = Connect(sender, "nowhere");
  Send(*connection);
  lanes.DeliverAll();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(lost);
}

TEST_F(LocalTransportTest, EndpointIsTakenOnce) {
  LocalTransport third(fabric);
  EXPECT_EQ(third.Listen("kv", [](auto) {}).status().code(), absl::StatusCode::kAlreadyExists);
  receiver.Close();
  EXPECT_TRUE(third.Listen("kv", [](auto) {}).ok());
}

// Faults ------------------------------------------------------------------------------------------

TEST_F(LocalTransportTest, DroppedSlabNeverArrives) {
  FaultyTransport faulty(sender, {.drop = 1}, 1);
  auto connection = Connect(faulty);
  Send(*connection);
  lanes.DeliverAll();
  EXPECT_TRUE(incoming.empty());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].ok());
}

TEST_F(LocalTransportTest, HeldSlabLeavesLater) {
  FaultyTransport faulty(sender, {.hold = 1}, 1);
  auto connection = Connect(faulty);
  Send(*connection);
  lanes.DeliverAll();
  EXPECT_TRUE(incoming.empty());
  EXPECT_EQ(faulty.held(), 1);
  EXPECT_TRUE(faulty.Release());
  lanes.DeliverAll();
  EXPECT_EQ(incoming.size(), 1u);
}

TEST_F(LocalTransportTest, DuplicateArrivesTwiceAndCompletesOnce) {
  FaultyTransport faulty(sender, {.duplicate = 1}, 1);
  auto connection = Connect(faulty);
  Send(*connection);
  lanes.DeliverAll();
  EXPECT_EQ(incoming.size(), 2u);
  incoming.clear();
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(LocalTransportTest, TruncatedAndCorruptedSlabsDiffer) {
  FaultyTransport faulty(sender, {.truncate = 1}, 1);
  auto connection = Connect(faulty);
  Send(*connection);
  faulty.set_faults({.corrupt_payload = 1});
  Send(*connection);
  faulty.set_faults({.corrupt_header = 1});
  Send(*connection);
  lanes.DeliverAll();
  ASSERT_EQ(incoming.size(), 3u);
  EXPECT_LT(incoming[0]->payload_bytes(), payload.size());
  Accept(1);
  lanes.DeliverAll();
  EXPECT_NE(landing, payload);
  EXPECT_NE(incoming[2]->header(), SlabHeaderBytes{});
}

TEST_F(LocalTransportTest, CutIsLostOnce) {
  FaultyTransport faulty(sender, {.cut = 1}, 1);
  auto connection = Connect(faulty);
  Send(*connection);
  Send(*connection);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_FALSE(sent[0].ok());
  EXPECT_FALSE(sent[1].ok());
  EXPECT_TRUE(lost);
  EXPECT_EQ(faulty.counts().cut, 1);
}

}  // namespace
}  // namespace baton
