#include "common/engine/step_loop.h"

#include <gtest/gtest.h>

#include <optional>

#include "common/base/status.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/fakes/manual_executor.h"

namespace baton {
namespace {

class StepLoopTest : public ::testing::Test {
 protected:
  Sequence MakeSequence(std::vector<int32_t> prompt) {
    EngineRequest request;
    request.prompt = std::move(prompt);
    request.sampling.temperature = 0;
    request.stop.max_tokens = 10;
    return Sequence(std::move(request));
  }
  PageTable TakePages(int count) {
    PageTable pages;
    pages.Append(allocator.TryTake(count).value());
    return pages;
  }
  void Finish() {
    executor.RunAll();
    mailbox.RunAll();
  }

  FakeClock clock;
  Mailbox mailbox{clock};
  ManualExecutor executor;
  FakeRunner::Config config;
  FakeRunner runner{config};
  BlockAllocator allocator{config.page_count};
  std::optional<absl::StatusOr<std::vector<StepOutcome>>> done;
  StepLoop loop{runner, executor, mailbox, [this](auto outcomes) { done = std::move(outcomes); }};
};

TEST_F(StepLoopTest, ChunksGiveWhatOneStepGives) {
  Sequence sequence = MakeSequence({5, 6, 7, 8, 9});
  PageTable pages = TakePages(1);
  std::vector<StepEntry> entries;
  entries.push_back(MakeStepEntry(1, sequence, 3, pages));
  EXPECT_FALSE(entries[0].sample);
  loop.Start(std::move(entries));
  Finish();
  ASSERT_TRUE(done->ok());
  EXPECT_EQ((**done)[0].end_position, 3);
  EXPECT_FALSE((**done)[0].sampled);
  sequence.SetComputed(3);
  entries.clear();
  entries.push_back(MakeStepEntry(1, sequence, 2, pages));
  EXPECT_TRUE(entries[0].sample);
  loop.Start(std::move(entries));
  Finish();
  EXPECT_EQ((**done)[0].sampled->token,
            FakeRunner::NextToken(config, sequence.tokens(), sequence.request().sampling));
  EXPECT_EQ(loop.steps(), 2);
}

TEST_F(StepLoopTest, PagesOfAStepInFlightAreHeld) {
  std::optional<Sequence> sequence = MakeSequence({5, 6, 7});
  {
    PageTable pages = TakePages(2);
    std::vector<StepEntry> entries;
    entries.push_back(MakeStepEntry(4, *sequence, 3, pages));
    loop.Start(std::move(entries));
  }
  // The request is gone, the step runs on.
  sequence.reset();
  EXPECT_TRUE(loop.busy());
  EXPECT_EQ(allocator.used_count(), 2);
  executor.RunAll();
  EXPECT_EQ(allocator.used_count(), 2);
  mailbox.RunAll();
  EXPECT_FALSE(loop.busy());
  EXPECT_EQ(allocator.used_count(), 0);
  EXPECT_EQ((**done)[0].key, 4u);
}

TEST_F(StepLoopTest, DeviceFailureIsReported) {
  Sequence sequence = MakeSequence({5});
  PageTable pages = TakePages(1);
  std::vector<StepEntry> entries;
  entries.push_back(MakeStepEntry(1, sequence, 1, pages));
  runner.FailNext(Internal("lost"));
  loop.Start(std::move(entries));
  Finish();
  EXPECT_EQ(done->status().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(loop.busy());
}

TEST_F(StepLoopTest, OneStepAtATime) {
  Sequence sequence = MakeSequence({5});
  PageTable pages = TakePages(1);
  std::vector<StepEntry> entries;
  entries.push_back(MakeStepEntry(1, sequence, 1, pages));
  loop.Start(std::move(entries));
  std::vector<StepEntry> more;
  more.push_back(MakeStepEntry(1, sequence, 1, pages));
  EXPECT_DEATH(loop.Start(std::move(more)), "busy");
  Finish();
}

}  // namespace
}  // namespace baton
