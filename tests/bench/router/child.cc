#include "tests/bench/router/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

namespace baton {

Child::Child(const std::string& program, const std::vector<std::string>& arguments,
             const std::string& port_file) {
  unlink(port_file.c_str());
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  const int exit_fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  for (int i = 0; i < 500; ++i) {
    std::ifstream file(port_file);
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("rpc=", 0) == 0) endpoint_ = "127.0.0.1:" + line.substr(4);
    }
    if (!endpoint_.empty()) {
      close(exit_fd);
      return;
    }
    // Wakes early when the child ends.
    pollfd end{exit_fd, POLLIN, 0};
    if (poll(&end, 1, 20) > 0) break;
  }
  fmt::print(stderr, "{} does not serve\n", program);
  std::exit(1);
}

Child::~Child() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

double Child::resident_mb() const {
  std::ifstream file(fmt::format("/proc/{}/status", pid_));
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

double Child::cpu_seconds() const {
  std::ifstream file(fmt::format("/proc/{}/stat", pid_));
  std::string word;
  double user = 0, system = 0;
  for (int field = 1; field <= 15 && file >> word; ++field) {
    if (field == 14) user = std::stod(word);
    if (field == 15) system = std::stod(word);
  }
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace baton
