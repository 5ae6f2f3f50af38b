#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace baton {

// A program that the benchmark measures, in a process of its own, killed with this object.
class Child {
 public:
  // `arguments` must make it write rpc=PORT to `port_file`; the constructor waits for that.
  Child(const std::string& program, const std::vector<std::string>& arguments,
        const std::string& port_file);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  double resident_mb() const;
  double cpu_seconds() const;

 private:
  pid_t pid_ = -1;
  std::string endpoint_;
};

}  // namespace baton
