// Bulk transport between two processes of this host: GB/s by slab size, with 1 and 8 slabs in
// flight, over the fabric UCX chooses and over TCP, beside memcpy in one thread. The child process
// of each measurement is this program itself.
//   bench_transport [seconds per cell, default 0.5]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/handoff/ucx/ucx_transport.h"

namespace baton {
namespace {

constexpr size_t kSizes[] = {64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20};
constexpr size_t kLargest = 16 << 20;
constexpr size_t kWindows[] = {1, 8};
constexpr size_t kSlots = 8;

[[noreturn]] void Fail(const absl::Status& status) {
  std::cerr << ToString(status) << "\n";
  std::exit(1);
}

// The child: lands everything, slot by slot, until its input closes.
int Receive() {
  auto transport = CreateUcxTransport({});
  if (!transport.ok()) Fail(transport.status());
  std::vector<std::byte> arena(kSlots * kLargest);
  if (auto status = (*transport)->RegisterArena(arena); !status.ok()) Fail(status);
  size_t next = 0;
  const auto endpoint =
      (*transport)->Listen("127.0.0.1:0", [&](std::unique_ptr<IncomingSlab> slab) {
        const std::span<std::byte> slot(arena.data() + next++ % kSlots * kLargest,
                                        slab->payload_bytes());
        slab->Accept(slot, [](absl::Status) {});
      });
  if (!endpoint.ok()) Fail(endpoint.status());
  std::cout << *endpoint << std::endl;
  std::string line;
  std::getline(std::cin, line);
  return 0;
}

class Child {
 public:
  Child(const std::string& program, bool tcp) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) Fail(Internal("pipe"));
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      if (tcp) setenv("UCX_TLS", "tcp", 1);
      execl("/proc/self/exe", program.c_str(), "--receive", nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    input_ = in[1];
    for (char c; read(out[0], &c, 1) == 1 && c != '\n';) endpoint_.push_back(c);
    close(out[0]);
  }
  ~Child() {
    close(input_);
    waitpid(pid_, nullptr, 0);
  }
  const std::string& endpoint() const { return endpoint_; }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  std::string endpoint_;
};

// Keeps `window` operations in flight for the given time; returns operations per second.
double Measure(size_t window, Duration time,
               const std::function<void(size_t slot, std::function<void(absl::Status)>)>& start) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t in_flight = 0, finished = 0;
  absl::Status failure;
  RealClock clock;
  TimePoint begin = clock.Now();
  std::unique_lock lock(mutex);
  // The first round only warms: connection, registration, page faults.
  for (size_t started = 0; (started < 2 * window || clock.Now() < begin + time) && failure.ok();
       ++started) {
    changed.wait(lock, [&] { return in_flight < window; });
    if (started == window) {
      begin = clock.Now();
      finished = 0;
    }
    ++in_flight;
    lock.unlock();
    start(started % kSlots, [&](absl::Status status) {
      std::lock_guard guard(mutex);
      failure.Update(status);
      --in_flight;
      ++finished;
      changed.notify_one();
    });
    lock.lock();
  }
  changed.wait(lock, [&] { return in_flight == 0; });
  if (!failure.ok()) Fail(failure);
  return static_cast<double>(finished) / Seconds(clock.Now() - begin);
}

using Rates = std::array<std::array<double, std::size(kWindows)>, std::size(kSizes)>;  // GB/s

Rates MeasureUcx(const std::string& program, bool tcp, Duration time, std::string& fabric) {
  UcxConfig config;
  if (tcp) config.settings = {{"TLS", "tcp"}};
  Child child(program, tcp);
  auto transport = CreateUcxTransport(config);
  if (!transport.ok()) Fail(transport.status());
  std::vector<std::byte> arena(kSlots * kLargest, std::byte{1});
  if (auto status = (*transport)->RegisterArena(arena); !status.ok()) Fail(status);
  auto connection =
      (*transport)->Connect(child.endpoint(), {WorkerId("bench"), Incarnation(1)}, {});
  if (!connection.ok()) Fail(connection.status());
  Rates rates{};
  for (size_t s = 0; s < std::size(kSizes); ++s) {
    for (size_t w = 0; w < std::size(kWindows); ++w) {
      const double rate = Measure(kWindows[w], time, [&](size_t slot, auto done) {
        (*connection)->Send({}, {arena.data() + slot * kLargest, kSizes[s]}, done);
      });
      rates[s][w] = rate * static_cast<double>(kSizes[s]) / 1e9;
    }
  }
  fabric = (*transport)->Describe();
  return rates;
}

std::array<double, std::size(kSizes)> MeasureMemcpy(Duration time) {
  std::vector<std::byte> from(kSlots * kLargest, std::byte{1}), to(kSlots * kLargest);
  std::array<double, std::size(kSizes)> rates{};
  size_t next = 0;
  for (size_t s = 0; s < std::size(kSizes); ++s) {
    const double rate = Measure(1, time, [&](size_t, const auto& done) {
      const size_t offset = next++ % kSlots * kLargest;
      std::memcpy(to.data() + offset, from.data() + offset, kSizes[s]);
      done(absl::OkStatus());
    });
    rates[s] = rate * static_cast<double>(kSizes[s]) / 1e9;
  }
  return rates;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  using namespace baton;
  if (argc == 2 && std::string(argv[1]) == "--receive") return Receive();
  const auto time = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(argc > 1 ? std::atof(argv[1]) : 0.5));
  std::string chosen, tcp;
  const auto copied = MeasureMemcpy(time);
  const Rates shared = MeasureUcx(argv[0], false, time, chosen);
  const Rates sockets = MeasureUcx(argv[0], true, time, tcp);
  fmt::print("GB/s, window 1 / window 8; in brackets the share of memcpy at window 8\n");
  fmt::print("A: {}\nB: {}\n", chosen, tcp);
  fmt::print("{:>9} {:>9} {:>24} {:>24}\n", "slab KiB", "memcpy", "A", "B");
  for (size_t s = 0; s < std::size(kSizes); ++s) {
    auto cell = [&](const Rates& rates) {
      return fmt::format("{:.2f} / {:.2f} ({:.0f} %)", rates[s][0], rates[s][1],
                         100 * rates[s][1] / copied[s]);
    };
    fmt::print("{:>9} {:>9.2f} {:>24} {:>24}\n", kSizes[s] >> 10, copied[s], cell(shared),
               cell(sockets));
  }
  return 0;
}
