#pragma once

#include <compare>
#include <string>

#include "absl/status/status.h"
#include "baton/v1/registry.pb.h"
#include "common/base/ids.h"

namespace baton {

// One life of a worker process: a restarted worker has another incarnation.
struct WorkerKey {
  WorkerId id;
  Incarnation incarnation;
  friend auto operator<=>(const WorkerKey&, const WorkerKey&) = default;
};

WorkerKey KeyOf(const v1::WorkerIdentity& identity);
v1::WorkerIdentity IdentityOf(const WorkerKey& key);

// "id/incarnation in hexadecimal": for logs and statuses.
std::string ToString(const WorkerKey& key);

// INVALID_ARGUMENT naming the field when a hello is not one a router can use. The descriptor comes
// from the network: lengths and ranges are checked, endpoints only for their form.
absl::Status ValidateDescriptor(const v1::WorkerDescriptor& descriptor);

}  // namespace baton
