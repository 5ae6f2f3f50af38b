#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace re2 {
class RE2;
}

namespace baton {

// A list of modules as compressed-tensors writes it: names ("lm_head"), classes ("Linear") and
// regular expressions that match from a name's start ("re:.*mlp.*"). Immutable; any thread.
class ModulePatterns {
 public:
  // INVALID_ARGUMENT, with `field` in front, for an expression that is none or costs too much.
  static absl::StatusOr<ModulePatterns> Parse(const std::vector<std::string>& patterns,
                                              std::string_view field);

  // How closely a module is meant: by name before expression before class.
  enum class Match { kNone, kClass, kExpression, kName };
  Match Matches(std::string_view module, std::string_view module_class) const;

 private:
  std::vector<std::string> names_;  // and classes
  std::vector<std::shared_ptr<const re2::RE2>> expressions_;
};

}  // namespace baton
