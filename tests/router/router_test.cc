// The router over in-process streams, with workers and clients played by the test.
#include "router/router.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/pushback.h"
#include "common/metrics/names.h"
#include "common/stream/in_process.h"
#include "tests/fakes/fake_clock.h"
#include "tests/router/fake_codec.h"

namespace baton {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

class RouterTest : public ::testing::Test {
 protected:
  struct Client {
    std::unique_ptr<EventStream<v1::GenerateRequest, v1::GenerateResponse>> stream;
    std::vector<v1::GenerateResponse> responses;
    std::optional<absl::Status> end;
  };
  // What a worker of the test got from the router, and the way back.
  template <typename Request, typename Response>
  struct Leg {
    std::shared_ptr<EventStream<Response, Request>> stream;
    std::vector<Request> requests;
    std::optional<absl::Status> end;
  };
  using PrefillLeg = Leg<v1::PrefillRequest, v1::PrefillResponse>;
  using DecodeLeg = Leg<v1::DecodeRequest, v1::DecodeResponse>;

  RouterTest() {
    Build({});
    generate_.Listen("router", router_->GenerateAcceptor());
    register_.Listen("router", router_->RegisterAcceptor());
    Listen(prefill_, prefill_legs_, "p0");
    Listen(decode_, decode_legs_, "d0");
  }
  // A leg and the sink of its stream own each other.
  ~RouterTest() override {
    for (auto& leg : prefill_legs_) leg->stream.reset();
    for (auto& leg : decode_legs_) leg->stream.reset();
  }
  void Build(Router::Config config) {
    config.model.name = "m";
    config.max_queue = 2;
    router_ = std::make_unique<Router>(
        std::move(config), clock_, mailbox_, logger_, &codec_, *policy_, metrics_,
        LiveRequest::Openers{[this](const std::string& endpoint, TimePoint deadline, auto sink) {
                               return prefill_.Open(endpoint, deadline, std::move(sink));
                             },
                             [this](const std::string& endpoint, TimePoint deadline, auto sink) {
                               return decode_.Open(endpoint, deadline, std::move(sink));
                             }});
  }
  template <typename Service, typename Legs>
  void Listen(Service& service, Legs& legs, const std::string& endpoint) {
    service.Listen(endpoint, [&legs](auto stream, TimePoint) {
      auto leg = std::make_shared<typename Legs::value_type::element_type>();
      leg->stream = std::move(stream);
      legs.push_back(leg);
      return [leg](auto event) {
        if (auto* closed = std::get_if<StreamClosed>(&event)) {
          leg->end = closed->status;
        } else {
          leg->requests.push_back(std::get<0>(std::move(event)));
        }
      };
    });
  }
  void Settle() {
    do {
      lanes_.DeliverAll();
      mailbox_.RunAll();
      router_->Tick();
    } while (!lanes_.Waiting().empty());
  }
  void Pass(Duration d) {
    clock_.Advance(d);
    Settle();
  }
  void Join(const std::string& id, v1::Role role, uint32_t max_queue = 0) {
    v1::RegisterRequest hello;
    v1::WorkerDescriptor& d = *hello.mutable_hello();
    d.mutable_identity()->set_worker_id(id);
    d.mutable_identity()->set_incarnation(9);
    d.set_role(role);
    d.set_model("m");
    d.set_rpc_endpoint(id);
    d.set_kv_endpoint(id);
    d.set_max_context(64);
    d.set_max_queue(max_queue);
    d.mutable_contract()->mutable_model()->set_architecture("A");
    d.mutable_contract()->mutable_model()->set_source_digest("s");
    d.mutable_contract()->mutable_model()->set_vocab_size(256);
    d.mutable_contract()->add_wire_formats(v1::KV_FORMAT_FP16);
    auto& worker = workers_[id];
    worker = register_.Open("router", TimePoint::max(), [this](auto event) {
      if (auto* closed = std::get_if<StreamClosed>(&event)) hello_ended_ = closed->status;
    });
    ASSERT_TRUE(worker->Send(hello).ok());
    Report(id);
  }
  void Report(const std::string& id, uint32_t queued = 0) {
    v1::RegisterRequest report;
    report.mutable_load()->set_ready(true);
    report.mutable_load()->set_queued(queued);
    workers_[id]->Send(report).IgnoreError();
    Settle();
  }
  void JoinBoth() {
    Join("p0", v1::ROLE_PREFILL);
    Join("d0", v1::ROLE_DECODE);
  }
  static v1::GenerateRequest Request(const std::string& id = "") {
    v1::GenerateRequest request;
    request.set_request_id(id);
    request.set_text("hi");
    request.set_max_tokens(4);
    return request;
  }
  std::shared_ptr<Client> Generate(v1::GenerateRequest request,
                                   TimePoint deadline = TimePoint::max()) {
    auto client = std::make_shared<Client>();
    client->stream = generate_.Open("router", deadline, [client = client.get()](auto event) {
      if (auto* closed = std::get_if<StreamClosed>(&event)) {
        client->end = closed->status;
      } else {
        client->responses.push_back(std::get<v1::GenerateResponse>(std::move(event)));
      }
    });
    client->stream->Send(std::move(request)).IgnoreError();
    Settle();
    return client;
  }
  // Plays both workers of the newest request to its end.
  void ServeLast() {
    v1::PrefillResponse first;
    first.mutable_first_token()->set_attempt(1);
    first.mutable_first_token()->set_token_id('a');
    prefill_legs_.back()->stream->Send(first).IgnoreError();
    v1::DecodeResponse message;
    message.mutable_committed()->set_attempt(1);
    message.mutable_committed()->set_first_token('a');
    decode_legs_.back()->stream->Send(message).IgnoreError();
    message.mutable_token()->set_attempt(1);
    message.mutable_token()->set_index(1);
    message.mutable_token()->set_token_id('b');
    decode_legs_.back()->stream->Send(message).IgnoreError();
    message.mutable_finished()->set_attempt(1);
    message.mutable_finished()->set_finish_reason(v1::FINISH_REASON_STOP);
    decode_legs_.back()->stream->Send(message).IgnoreError();
    EndLegs();
  }
  void EndLegs() {
    for (auto& leg : prefill_legs_) leg->stream->Close(absl::OkStatus());
    for (auto& leg : decode_legs_) leg->stream->Close(absl::OkStatus());
    Settle();
  }

  FakeClock clock_;
  Mailbox mailbox_{clock_};
  Logger logger_{Logger::Config{.level = LogLevel::kError}};
  const FakeCodec codec_;
  MetricRegistry metrics_;
  const std::unique_ptr<RoutingPolicy> policy_ = *MakeRoutingPolicy("round_robin", 0);
  InProcessLanes lanes_{InProcessLanes::Mode::kStepped};
  InProcessService<v1::GenerateRequest, v1::GenerateResponse> generate_{lanes_};
  InProcessService<v1::RegisterRequest, v1::RegisterResponse> register_{lanes_};
  InProcessService<v1::PrefillRequest, v1::PrefillResponse> prefill_{lanes_};
  InProcessService<v1::DecodeRequest, v1::DecodeResponse> decode_{lanes_};
  std::vector<std::shared_ptr<PrefillLeg>> prefill_legs_;
  std::vector<std::shared_ptr<DecodeLeg>> decode_legs_;
  std::optional<absl::Status> hello_ended_;
  std::unique_ptr<Router> router_;
  std::map<std::string, std::unique_ptr<EventStream<v1::RegisterRequest, v1::RegisterResponse>>>
      workers_;
};

TEST_F(RouterTest, ServesARequestAndKeepsNothing) {
  JoinBoth();
  EXPECT_TRUE(router_->ready());
  auto client = Generate(Request("r1"));
  ASSERT_EQ(prefill_legs_.size(), 1u);
  EXPECT_EQ(prefill_legs_[0]->requests[0].start().request().prompt_size(), 3);
  EXPECT_EQ(decode_legs_[0]->requests[0].start().request().request_id(), "r1");
  ServeLast();
  ASSERT_TRUE(client->end.has_value());
  EXPECT_TRUE(client->end->ok()) << *client->end;
  // What comes in one batch of events goes out in one chunk.
  ASSERT_EQ(client->responses.size(), 2u);
  EXPECT_EQ(client->responses[0].chunk().text(), "ab");
  EXPECT_EQ(client->responses[0].chunk().token_ids_size(), 2);
  EXPECT_EQ(client->responses[1].complete().request_id(), "r1");
  EXPECT_TRUE(router_->idle());
  EXPECT_EQ(router_->stats().completed, 1u);
  EXPECT_EQ(router_->stats().tokens, 2u);
  EXPECT_EQ(metrics_.GetCounter(metric::kRequests, {{"code", "OK"}}).value(), 1u);
  EXPECT_EQ(metrics_.GetCounter(metric::kGeneratedTokens).value(), 2u);
}

TEST_F(RouterTest, WithoutWorkersRequestsAreRefused) {
  EXPECT_FALSE(router_->ready());
  EXPECT_EQ(Generate(Request())->end->code(), StatusCode::kUnavailable);
  Join("p0", v1::ROLE_PREFILL);
  EXPECT_EQ(Generate(Request())->end->code(), StatusCode::kUnavailable);
  EXPECT_TRUE(router_->idle());
}

TEST_F(RouterTest, BadAndDuplicateRequestsAreRefusedAndHarmNobody) {
  JoinBoth();
  auto client = Generate(Request("r1"));
  EXPECT_EQ(Generate(Request("r1"))->end->code(), StatusCode::kAlreadyExists);
  v1::GenerateRequest bad = Request();
  bad.set_max_tokens(100);
  EXPECT_EQ(Generate(bad)->end->code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(prefill_legs_.size(), 1u);
  ServeLast();
  EXPECT_TRUE(client->end->ok());
  // The id is free again.
  Generate(Request("r1"));
  EXPECT_EQ(prefill_legs_.size(), 2u);
}

TEST_F(RouterTest, FullWorkersFillTheQueueAndAFullQueueRefusesWithPushback) {
  JoinBoth();
  Report("p0");
  Join("d0", v1::ROLE_DECODE, 1);
  auto first = Generate(Request());
  auto second = Generate(Request());
  auto third = Generate(Request());
  EXPECT_EQ(prefill_legs_.size(), 1u);
  EXPECT_EQ(router_->queued(), 2u);
  auto refused = Generate(Request());
  ASSERT_TRUE(refused->end.has_value());
  EXPECT_EQ(refused->end->code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(PushbackOf(*refused->end), milliseconds(500));
  ServeLast();
  EXPECT_EQ(prefill_legs_.size(), 2u);
  EXPECT_EQ(router_->queued(), 1u);
}

TEST_F(RouterTest, TheQueueIsFirstComeFirstServed) {
  JoinBoth();
  Join("d0", v1::ROLE_DECODE, 1);
  auto running = Generate(Request("r0"));
  auto second = Generate(Request("r1"));
  auto third = Generate(Request("r2"));
  for (const char* next : {"r1", "r2"}) {
    ServeLast();
    EXPECT_EQ(decode_legs_.back()->requests[0].start().request().request_id(), next);
  }
}

TEST_F(RouterTest, ADeadlineInTheQueueCostsTheWorkersNothing) {
  JoinBoth();
  Join("d0", v1::ROLE_DECODE, 1);
  auto running = Generate(Request());
  auto waiting = Generate(Request(), clock_.Now() + seconds(1));
  Pass(seconds(1));
  ASSERT_TRUE(waiting->end.has_value());
  EXPECT_EQ(waiting->end->code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(prefill_legs_.size(), 1u);
  EXPECT_FALSE(running->end.has_value());
  EXPECT_EQ(Generate(Request(), clock_.Now())->end->code(), StatusCode::kDeadlineExceeded);
}

TEST_F(RouterTest, ADeadlineOnTheWayCancelsBothWorkers) {
  JoinBoth();
  auto client = Generate(Request(), clock_.Now() + seconds(1));
  Pass(seconds(1));
  EXPECT_EQ(client->end->code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(prefill_legs_[0]->requests.back().cancel().reason(), v1::CANCEL_REASON_DEADLINE);
  EXPECT_EQ(decode_legs_[0]->requests.back().cancel().reason(), v1::CANCEL_REASON_DEADLINE);
}

TEST_F(RouterTest, AClientThatLeavesCancelsBothWorkers) {
  JoinBoth();
  auto client = Generate(Request());
  client->stream.reset();
  Settle();
  EXPECT_EQ(prefill_legs_[0]->requests.back().cancel().reason(), v1::CANCEL_REASON_CLIENT);
  EXPECT_EQ(decode_legs_[0]->requests.back().cancel().reason(), v1::CANCEL_REASON_CLIENT);
  EXPECT_FALSE(router_->idle());
  EndLegs();
  EXPECT_TRUE(router_->idle());
}

TEST_F(RouterTest, StreamsOfWorkersThatDoNotEndAreDropped) {
  JoinBoth();
  auto client = Generate(Request());
  client->stream.reset();
  Settle();
  Pass(seconds(6));
  EXPECT_TRUE(router_->idle());
  EXPECT_EQ(prefill_legs_[0]->end->code(), StatusCode::kOk);
}

TEST_F(RouterTest, AbortEndsALiveRequest) {
  JoinBoth();
  auto client = Generate(Request("r1"));
  EXPECT_EQ(router_->Abort("r2").code(), StatusCode::kNotFound);
  EXPECT_TRUE(router_->Abort("r1").ok());
  Settle();
  EXPECT_EQ(client->end->code(), StatusCode::kCancelled);
  EXPECT_EQ(router_->Abort("r1").code(), StatusCode::kNotFound);
}

TEST_F(RouterTest, SilentWorkersAreLostWithTheirRequests) {
  JoinBoth();
  auto client = Generate(Request());
  for (int i = 0; i < 10; ++i) {
    Pass(seconds(1));
    Report("d0");
  }
  ASSERT_TRUE(client->end.has_value());
  EXPECT_EQ(client->end->code(), StatusCode::kUnavailable);
  EXPECT_FALSE(router_->ready());
}

TEST_F(RouterTest, HellosOfOtherModelsAreRefused) {
  JoinBoth();
  v1::RegisterRequest hello;
  hello.mutable_hello()->set_model("other");
  auto stream = register_.Open("router", TimePoint::max(), [this](auto event) {
    if (auto* closed = std::get_if<StreamClosed>(&event)) hello_ended_ = closed->status;
  });
  ASSERT_TRUE(stream->Send(hello).ok());
  Settle();
  ASSERT_TRUE(hello_ended_.has_value());
  EXPECT_EQ(hello_ended_->code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(router_->Load().workers_size(), 2);
}

TEST_F(RouterTest, DrainFinishesWhatIsThereAndRefusesTheRest) {
  JoinBoth();
  auto client = Generate(Request());
  auto late = Generate(Request("late"));
  router_->Drain(clock_.Now() + seconds(10));
  EXPECT_FALSE(router_->ready());
  EXPECT_EQ(Generate(Request())->end->code(), StatusCode::kUnavailable);
  const auto late_prefill = prefill_legs_.back();
  const auto late_decode = decode_legs_.back();
  prefill_legs_.pop_back();
  decode_legs_.pop_back();
  ServeLast();
  EXPECT_TRUE(client->end->ok());
  EXPECT_FALSE(late->end.has_value());
  prefill_legs_.push_back(late_prefill);
  decode_legs_.push_back(late_decode);
  Pass(seconds(10));
  EXPECT_EQ(late->end->code(), StatusCode::kUnavailable);
}

TEST_F(RouterTest, LoadAndModelAreToldByTheWorkers) {
  EXPECT_EQ(router_->Model().status().code(), StatusCode::kUnavailable);
  JoinBoth();
  EXPECT_EQ(router_->Model()->vocab_size, 256u);
  EXPECT_EQ(router_->Model()->max_context, 64u);
  Report("d0", 3);
  auto client = Generate(Request());
  const v1::GetLoadResponse load = router_->Load();
  ASSERT_EQ(load.workers_size(), 2);
  EXPECT_EQ(load.workers(0).worker_id(), "d0");
  EXPECT_EQ(load.workers(0).state(), "ready");
  EXPECT_EQ(load.workers(0).queued(), 3u);
  EXPECT_EQ(load.live_requests(), 1u);
}

}  // namespace
}  // namespace baton
