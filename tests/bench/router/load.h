#pragma once

#include <string>
#include <vector>

#include "common/rpc/channel.h"

namespace baton {

struct LoadResult {
  std::vector<double> latency_us;  // request to its end
  double seconds = 0;              // of all together
  int failed = 0;
  double median_us() const;
  double per_second() const { return static_cast<double>(latency_us.size()) / seconds; }
};

// Sends `requests` requests for `tokens` tokens to a Generate service, `concurrency` at a time.
LoadResult RunLoad(rpc::ChannelPool& channels, const std::string& endpoint, int requests,
                   int concurrency, uint32_t tokens);

// Streams that stay open until destroyed.
class HeldStreams {
 public:
  // Opens `count` and waits until each has its first token.
  HeldStreams(rpc::ChannelPool& channels, const std::string& endpoint, int count);
  ~HeldStreams();
  int started() const { return started_; }

 private:
  struct Streams;
  std::unique_ptr<Streams> streams_;
  int started_ = 0;
};

}  // namespace baton
