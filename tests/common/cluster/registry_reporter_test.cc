#include "common/cluster/registry_reporter.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/base/status.h"
#include "common/stream/in_process.h"
#include "tests/fakes/fake_clock.h"

namespace baton {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RegistryReporterTest : public ::testing::Test {
 protected:
  RegistryReporterTest() { Listen(); }

  void Listen() {
    service_.Listen("router", [this](auto stream, TimePoint) {
      router_end_ = std::move(stream);
      ++streams_;
      return [this](StreamEvent<v1::RegisterRequest> event) {
        if (auto* message = std::get_if<v1::RegisterRequest>(&event)) {
          received_.push_back(*message);
        } else {
          closed_.push_back(std::get<StreamClosed>(event).status);
        }
      };
    });
  }
  RegistryReporter::Config Config() {
    RegistryReporter::Config config;
    config.descriptor.mutable_identity()->set_worker_id("p0");
    config.router_endpoint = "router";
    return config;
  }
  void TickAfter(Duration d) {
    clock_.Advance(d);
    reporter_->Tick(clock_.Now());
    Settle();
  }
  void Settle() {
    do {
      lanes_.DeliverAll();
    } while (mailbox_.RunAll() > 0 || !lanes_.Waiting().empty());
  }
  void Accept() {
    v1::RegisterResponse response;
    response.mutable_accepted()->set_router_id("r");
    ASSERT_TRUE(router_end_->Send(response).ok());
    Settle();
  }

  FakeClock clock_;
  Mailbox mailbox_{clock_};
  Logger logger_{Logger::Config{.level = LogLevel::kError}};
  InProcessLanes lanes_{InProcessLanes::Mode::kStepped};
  InProcessService<v1::RegisterRequest, v1::RegisterResponse> service_{lanes_};
  std::shared_ptr<EventStream<v1::RegisterResponse, v1::RegisterRequest>> router_end_;
  std::vector<v1::RegisterRequest> received_;
  std::vector<absl::Status> closed_;
  int streams_ = 0;
  int drains_ = 0;
  std::unique_ptr<RegistryReporter> reporter_ = std::make_unique<RegistryReporter>(
      Config(),
      [this](const std::string& endpoint, TimePoint deadline, auto sink) {
        return service_.Open(endpoint, deadline, std::move(sink));
      },
      mailbox_, logger_,
      [] {
        v1::LoadReport load;
        load.set_running(3);
        return load;
      },
      [this] { ++drains_; });
};

TEST_F(RegistryReporterTest, SaysHelloThenReportsEachInterval) {
  TickAfter({});
  ASSERT_EQ(received_.size(), 2u);
  EXPECT_EQ(received_[0].hello().identity().worker_id(), "p0");
  EXPECT_EQ(received_[1].load().running(), 3u);
  Accept();
  EXPECT_TRUE(reporter_->registered());
  TickAfter(milliseconds(499));
  EXPECT_EQ(received_.size(), 2u);
  TickAfter(milliseconds(1));
  EXPECT_EQ(received_.size(), 3u);
  reporter_->ReportSoon();
  TickAfter({});
  EXPECT_EQ(received_.size(), 4u);
}

TEST_F(RegistryReporterTest, ReconnectsAfterTheBackoff) {
  service_.Break("router");
  TickAfter({});
  EXPECT_FALSE(reporter_->registered());
  // The first retry comes after 100 ms give or take 20 %.
  TickAfter(milliseconds(79));
  Listen();
  EXPECT_EQ(streams_, 0);
  TickAfter(milliseconds(42));
  EXPECT_EQ(streams_, 1);
}

TEST_F(RegistryReporterTest, BackoffStartsAfreshOnceAccepted) {
  for (int i = 0; i < 10; ++i) {
    service_.Break("router");
    Settle();
    TickAfter(seconds(7));
  }
  Listen();
  TickAfter(seconds(7));
  Accept();
  ASSERT_TRUE(reporter_->registered());
  service_.Break("router");
  Settle();
  Listen();
  const int before = streams_;
  TickAfter(milliseconds(121));
  EXPECT_EQ(streams_, before + 1);
}

TEST_F(RegistryReporterTest, ARouterThatDoesNotAnswerIsTriedAgain) {
  TickAfter({});
  TickAfter(seconds(5));
  EXPECT_EQ(closed_.size(), 1u);
  TickAfter(seconds(1));
  EXPECT_EQ(streams_, 2);
}

TEST_F(RegistryReporterTest, PassesDrainOn) {
  TickAfter({});
  Accept();
  v1::RegisterResponse response;
  response.mutable_drain();
  ASSERT_TRUE(router_end_->Send(response).ok());
  Settle();
  EXPECT_EQ(drains_, 1);
}

TEST_F(RegistryReporterTest, ARefusedHelloIsRetriedNotFatal) {
  TickAfter({});
  router_end_->Close(InvalidArgument("model: 'x', expected 'y'"));
  Settle();
  TickAfter(seconds(1));
  EXPECT_EQ(streams_, 2);
}

TEST_F(RegistryReporterTest, StopEndsTheStreamAndLateEventsAreDropped) {
  TickAfter({});
  Accept();
  v1::RegisterResponse response;
  response.mutable_drain();
  ASSERT_TRUE(router_end_->Send(response).ok());
  lanes_.DeliverAll();
  reporter_.reset();
  Settle();
  EXPECT_EQ(drains_, 0);
  ASSERT_EQ(closed_.size(), 1u);
}

}  // namespace
}  // namespace baton
