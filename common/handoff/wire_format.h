#pragma once

#include <optional>

#include "baton/v1/kv.pb.h"
#include "kernels/kv_page/kv_format.h"

namespace baton {

// The formats of K and V behind a protocol name; nullopt for a value this build does not know.
std::optional<kernels::KvFormats> KvFormatsOf(v1::KvFormat format);

// The inverse; KV_FORMAT_UNSPECIFIED for a pair without a name.
v1::KvFormat KvFormatNamed(kernels::KvFormats formats);

}  // namespace baton
