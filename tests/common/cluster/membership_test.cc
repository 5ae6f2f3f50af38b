#include "common/cluster/membership.h"

#include <gtest/gtest.h>

#include <string>

namespace baton {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

v1::WorkerDescriptor Descriptor(const std::string& id, uint64_t incarnation,
                                v1::Role role = v1::ROLE_PREFILL) {
  v1::WorkerDescriptor d;
  d.mutable_identity()->set_worker_id(id);
  d.mutable_identity()->set_incarnation(incarnation);
  d.set_role(role);
  d.set_model("m");
  d.set_rpc_endpoint("h:1");
  d.set_kv_endpoint("h:2");
  d.set_max_context(128);
  d.mutable_contract()->mutable_model()->set_architecture("A");
  d.mutable_contract()->add_wire_formats(v1::KV_FORMAT_FP16);
  return d;
}

v1::LoadReport Ready() {
  v1::LoadReport load;
  load.set_ready(true);
  return load;
}

class MembershipTest : public ::testing::Test {
 protected:
  WorkerState StateOf(size_t index = 0) { return (*members_.Snapshot())[index].state; }
  SessionId Join(const std::string& id, uint64_t incarnation) {
    return *members_.Hello(Descriptor(id, incarnation), now_);
  }

  Membership members_{Membership::Config{}};
  TimePoint now_{seconds(100)};
};

TEST_F(MembershipTest, AWorkerIsReadyOnceItReportsSo) {
  const SessionId session = Join("p0", 1);
  EXPECT_EQ(StateOf(), WorkerState::kStarting);
  members_.Report(session, v1::LoadReport(), now_);
  EXPECT_EQ(StateOf(), WorkerState::kStarting);
  members_.Report(session, Ready(), now_);
  EXPECT_EQ(StateOf(), WorkerState::kReady);
}

TEST_F(MembershipTest, MissingReportsMakeItSuspectThenLost) {
  const SessionId session = Join("p0", 1);
  members_.Report(session, Ready(), now_);
  members_.Tick(now_ + milliseconds(2999));
  EXPECT_EQ(StateOf(), WorkerState::kReady);
  members_.Tick(now_ + seconds(3));
  EXPECT_EQ(StateOf(), WorkerState::kSuspect);
  members_.Report(session, Ready(), now_ + seconds(4));
  EXPECT_EQ(StateOf(), WorkerState::kReady);
  members_.Tick(now_ + seconds(14));
  EXPECT_EQ(StateOf(), WorkerState::kLost);
  EXPECT_EQ(members_.TakeLost(), std::vector<WorkerKey>{KeyOf(Descriptor("p0", 1).identity())});
  EXPECT_TRUE(members_.TakeLost().empty());
}

TEST_F(MembershipTest, ABrokenStreamMayComeBack) {
  const SessionId first = Join("p0", 1);
  members_.Report(first, Ready(), now_);
  members_.StreamEnded(first);
  EXPECT_EQ(StateOf(), WorkerState::kSuspect);
  const SessionId second = Join("p0", 1);
  members_.Report(second, Ready(), now_);
  EXPECT_EQ(StateOf(), WorkerState::kReady);
  EXPECT_TRUE(members_.TakeLost().empty());
  // The end of the superseded stream and its reports change nothing.
  members_.StreamEnded(first);
  members_.Report(first, v1::LoadReport(), now_);
  EXPECT_EQ(StateOf(), WorkerState::kReady);
}

TEST_F(MembershipTest, ABrokenStreamThatDoesNotComeBackIsALoss) {
  const SessionId session = Join("p0", 1);
  members_.Report(session, Ready(), now_);
  members_.StreamEnded(session);
  members_.Tick(now_ + seconds(9));
  EXPECT_EQ(StateOf(), WorkerState::kSuspect);
  members_.Tick(now_ + seconds(10));
  EXPECT_EQ(StateOf(), WorkerState::kLost);
}

TEST_F(MembershipTest, ARestartLosesTheFormerLifeAtOnce) {
  members_.Report(Join("p0", 1), Ready(), now_);
  Join("p0", 2);
  EXPECT_EQ(members_.TakeLost(), std::vector<WorkerKey>{KeyOf(Descriptor("p0", 1).identity())});
  ASSERT_EQ(members_.Snapshot()->size(), 1u);
  EXPECT_EQ((*members_.Snapshot())[0].key().incarnation.value(), 2u);
  EXPECT_EQ(StateOf(), WorkerState::kStarting);
}

TEST_F(MembershipTest, DrainingShows) {
  const SessionId session = Join("p0", 1);
  v1::LoadReport load;
  load.set_draining(true);
  members_.Report(session, load, now_);
  EXPECT_EQ(StateOf(), WorkerState::kDraining);
}

TEST_F(MembershipTest, LostWorkersAreForgottenLater) {
  Join("p0", 1);
  members_.Tick(now_ + seconds(10));
  ASSERT_EQ(members_.Snapshot()->size(), 1u);
  members_.Tick(now_ + seconds(69));
  EXPECT_EQ(members_.Snapshot()->size(), 1u);
  members_.Tick(now_ + seconds(70));
  EXPECT_TRUE(members_.Snapshot()->empty());
}

TEST_F(MembershipTest, OneIdIsOneRoleAndTheNumberIsBounded) {
  Join("p0", 1);
  EXPECT_EQ(members_.Hello(Descriptor("p0", 2, v1::ROLE_DECODE), now_).status().code(),
            absl::StatusCode::kAlreadyExists);
  Membership small(Membership::Config{.max_workers = 1});
  ASSERT_TRUE(small.Hello(Descriptor("a", 1), now_).ok());
  EXPECT_EQ(small.Hello(Descriptor("b", 1), now_).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.Hello(v1::WorkerDescriptor(), now_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(MembershipTest, SnapshotsAreSharedUntilSomethingChanges) {
  const SessionId session = Join("p0", 1);
  const ClusterSnapshot before = members_.Snapshot();
  EXPECT_EQ(members_.Snapshot(), before);
  members_.Report(session, Ready(), now_);
  EXPECT_NE(members_.Snapshot(), before);
  EXPECT_EQ((*before)[0].state, WorkerState::kStarting);
}

}  // namespace
}  // namespace baton
