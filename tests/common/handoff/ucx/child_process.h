#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace baton::ucx {

// A child with pipes on its standard input and output. Killed and waited for when destroyed.
class ChildProcess {
 public:
  ChildProcess(std::vector<std::string> command,
               const std::vector<std::pair<std::string, std::string>>& environment = {}) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return;
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    input_ = in[1];
    output_ = out[0];
  }
  ~ChildProcess() {
    Kill();
    if (input_ >= 0) close(input_);
    if (output_ >= 0) close(output_);
  }
  ChildProcess(const ChildProcess&) = delete;

  // The next line of its output; empty at its end or when none comes within 30 s.
  std::optional<std::string> Line() {
    const TimePoint limit = RealClock().Now() + std::chrono::seconds(30);
    for (;;) {
      if (const size_t end = text_.find('\n'); end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      const double left = Milliseconds(limit - RealClock().Now());
      pollfd waiting{output_, POLLIN, 0};
      if (left <= 0 || poll(&waiting, 1, static_cast<int>(left) + 1) <= 0) return std::nullopt;
      char buffer[4096];
      const ssize_t n = read(output_, buffer, sizeof buffer);
      if (n <= 0) return std::nullopt;
      text_.append(buffer, static_cast<size_t>(n));
    }
  }
  // The rest of the next line that begins with `word` and a space.
  std::string Expect(const std::string& word) {
    for (auto line = Line(); line; line = Line()) {
      if (line->starts_with(word + " ")) return line->substr(word.size() + 1);
    }
    return "";
  }
  std::string Fabric() {
    if (write(input_, "\n", 1) != 1) return "";
    return Expect("fabric");
  }
  // Closes its input and returns its exit status, or -1.
  int Finish() {
    close(std::exchange(input_, -1));
    while (Line()) {
    }
    int status = -1;
    if (pid_ > 0 && waitpid(std::exchange(pid_, -1), &status, 0) > 0 && WIFEXITED(status)) {
      return WEXITSTATUS(status);
    }
    return -1;
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1;
  std::string text_;
};

}  // namespace baton::ucx
