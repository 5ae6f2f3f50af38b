#include "common/stream/in_process.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace baton {
namespace {

struct Peer {
  std::vector<std::string> messages;
  std::vector<absl::Status> closed;
  StreamSink<std::string> Sink() {
    return [this](StreamEvent<std::string> event) {
      if (auto* message = std::get_if<std::string>(&event)) messages.push_back(*message);
      if (auto* end = std::get_if<StreamClosed>(&event)) closed.push_back(end->status);
    };
  }
};

class InProcessTest : public ::testing::Test {
 protected:
  InProcessTest() {
    service_.Listen("worker", [this](auto stream, TimePoint) {
      server_end_ = std::move(stream);
      return server_.Sink();
    });
  }
  std::unique_ptr<EventStream<std::string, std::string>> Open(const std::string& endpoint) {
    return service_.Open(endpoint, TimePoint::max(), client_.Sink());
  }

  InProcessLanes lanes_{InProcessLanes::Mode::kStepped};
  InProcessService<std::string, std::string> service_{lanes_};
  std::shared_ptr<EventStream<std::string, std::string>> server_end_;
  Peer server_, client_;
};

TEST_F(InProcessTest, MessagesWaitForTheTestAndKeepTheirOrder) {
  auto stream = Open("worker");
  ASSERT_TRUE(stream->Send("a").ok());
  ASSERT_TRUE(stream->Send("b").ok());
  EXPECT_TRUE(server_.messages.empty());
  lanes_.DeliverAll();
  EXPECT_EQ(server_.messages, (std::vector<std::string>{"a", "b"}));
}

TEST_F(InProcessTest, ServerStatusReachesTheClientAfterItsMessages) {
  auto stream = Open("worker");
  ASSERT_TRUE(server_end_->Send("x").ok());
  server_end_->Close(NotFound("no model"));
  EXPECT_FALSE(server_end_->Send("late").ok());
  lanes_.DeliverAll();
  EXPECT_EQ(client_.messages, std::vector<std::string>{"x"});
  ASSERT_EQ(client_.closed.size(), 1u);
  EXPECT_EQ(client_.closed[0].code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(server_.closed.empty());
}

TEST_F(InProcessTest, HalfCloseLetsTheServerGoOn) {
  auto stream = Open("worker");
  stream->Close(absl::OkStatus());
  EXPECT_FALSE(stream->Send("late").ok());
  ASSERT_TRUE(server_end_->Send("x").ok());
  lanes_.DeliverAll();
  ASSERT_EQ(server_.closed.size(), 1u);
  EXPECT_TRUE(server_.closed[0].ok());
  EXPECT_EQ(client_.messages.size(), 1u);
}

TEST_F(InProcessTest, DestroyingTheClientEndCancelsTheServer) {
  Open("worker").reset();
  lanes_.DeliverAll();
  ASSERT_EQ(server_.closed.size(), 1u);
  EXPECT_EQ(server_.closed[0].code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(client_.closed.empty());
}

TEST_F(InProcessTest, UnknownEndpointAndBreakAreUnavailable) {
  auto nobody = Open("nobody");
  auto stream = Open("worker");
  service_.Break("worker");
  lanes_.DeliverAll();
  ASSERT_EQ(client_.closed.size(), 2u);
  EXPECT_EQ(client_.closed[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_.closed[1].code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(server_.closed.size(), 1u);
}

}  // namespace
}  // namespace baton
