#pragma once

#include <functional>
#include <string>
#include <thread>

namespace baton {

// A named thread that is joined by its destructor. The owner makes the body return first (Stop of
// the component, or closing its queue).
class Thread {
 public:
  Thread() = default;
  // `name` is cut to 15 characters, what the kernel shows.
  Thread(const std::string& name, std::function<void()> body);
  Thread(Thread&&) noexcept = default;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { Join(); }

  void Join();
  bool IsCurrent() const { return thread_.get_id() == std::this_thread::get_id(); }

 private:
  std::thread thread_;
};

}  // namespace baton
