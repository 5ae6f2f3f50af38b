#include "common/tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>
#include <vector>

#include "common/base/check.h"
#include "common/tokenizer/unicode.h"
#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Below U+0300 every character is its own normal form and none combines with its predecessor.
bool NeedsNormalization(std::string_view utf8) {
  return std::any_of(utf8.begin(), utf8.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0xCC; });
}

int CombiningClass(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<utf8proc_int32_t> Decompose(std::string_view utf8) {
  std::vector<utf8proc_int32_t> result;
  result.reserve(utf8.size());
  std::array<utf8proc_int32_t, 16> parts;
  while (!utf8.empty()) {
    const Utf8Step step = NextUtf8(utf8);
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code_point),
                                               parts.data(), parts.size(), kOptions, nullptr);
    BATON_CHECK(count > 0 && static_cast<size_t>(count) <= parts.size());
    result.insert(result.end(), parts.begin(), parts.begin() + count);
    utf8.remove_prefix(step.length);
  }
  return result;
}

// utf8proc's own canonical ordering is quadratic in the length of a run of marks.
void SortMarks(std::vector<utf8proc_int32_t>& code_points) {
  const auto is_mark = [](utf8proc_int32_t c) { return CombiningClass(c) != 0; };
  auto run = std::find_if(code_points.begin(), code_points.end(), is_mark);
  while (run != code_points.end()) {
    const auto end = std::find_if_not(run, code_points.end(), is_mark);
    if (end - run > 1) {
      std::vector<std::tuple<int, ptrdiff_t, utf8proc_int32_t>> marks;  // class, place, mark
      for (auto mark = run; mark != end; ++mark) {
        marks.emplace_back(CombiningClass(*mark), mark - run, *mark);
      }
      std::sort(marks.begin(), marks.end());
      for (size_t i = 0; i < marks.size(); ++i) run[i] = std::get<2>(marks[i]);
    }
    run = std::find_if(end, code_points.end(), is_mark);
  }
}

// Bytes before the first frozen character, then bytes of the frozen ones that follow.
struct Stretch {
  size_t normal;
  size_t frozen;
};

Stretch NextStretch(std::string_view utf8) {
  Stretch stretch = {0, 0};
  for (size_t at = 0; at < utf8.size();) {
    const Utf8Step step = NextUtf8(utf8.substr(at));
    BATON_CHECK(step.kind == Utf8Step::Kind::kCharacter);
    const bool frozen = ClassOf(step.code_point).frozen();
    if (!frozen && stretch.frozen > 0) break;
    (frozen ? stretch.frozen : stretch.normal) += step.length;
    at += step.length;
  }
  return stretch;
}

std::string NormalizeStretch(std::string_view utf8) {
  std::vector<utf8proc_int32_t> code_points = Decompose(utf8);
  SortMarks(code_points);
  const auto count = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()), kOptions);
  BATON_CHECK(count >= 0);
  std::string text;
  text.reserve(utf8.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    text += EncodeUtf8(static_cast<char32_t>(code_points[i]));
  }
  return text;
}

}  // namespace

std::string NormalizeNfc(std::string_view utf8) {
  if (!NeedsNormalization(utf8)) return std::string(utf8);
  std::string text;
  text.reserve(utf8.size());
  while (!utf8.empty()) {
    const Stretch stretch = NextStretch(utf8);
    text += NormalizeStretch(utf8.substr(0, stretch.normal));
    text += utf8.substr(stretch.normal, stretch.frozen);
    utf8.remove_prefix(stretch.normal + stretch.frozen);
  }
  return text;
}

}  // namespace baton
