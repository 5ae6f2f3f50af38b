// The bytes of a packed matrix against its layout (kernels/gemm/README.md) written down one
// element at a time.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/gemm/pack.h"
#include "kernels/numeric/formats.h"
#include "tests/kernels/gemm/test_matrices.h"
#include "tests/kernels/kv_page/targets.h"

namespace baton::kernels {
namespace {

constexpr int64_t kPanel = PackedWeight::kPanel;

struct PackedBytes {
  std::vector<uint8_t> panels;
  std::vector<uint8_t> scales;
  std::vector<uint8_t> zeros;  // empty where none are stored
};

// A row of the stacked matrix.
struct RowOf {
  const WeightView* view;
  int64_t index;
};

int64_t Groups(const WeightView& v) { return (v.k + v.group - 1) / v.group; }

uint32_t Bits(const void* data, ScalarType type, int64_t i) {
  uint32_t bits = 0;
  std::memcpy(&bits, static_cast<const uint8_t*>(data) + i * static_cast<int64_t>(BytesOf(type)),
              BytesOf(type));
  return bits;
}

float Number(uint32_t bits, ScalarType type) {
  if (type == ScalarType::kFp32) return std::bit_cast<float>(bits);
  return type == ScalarType::kFp16 ? FloatFromFp16(static_cast<uint16_t>(bits))
                                   : FloatFromBf16(static_cast<uint16_t>(bits));
}

float Value(const RowOf& row, int64_t k) {
  const WeightView& v = *row.view;
  const int64_t at = row.index * v.k + k;
  if (v.codes_type == CodeType::kDense)
    return Number(Bits(v.dense, v.dense_type, at), v.dense_type);
  const int64_t group = row.index * Groups(v) + k / v.group;
  const float scale = Number(Bits(v.scales, v.scale_type, group), v.scale_type);
  if (v.codes_type == CodeType::kE4m3)
    return scale * FloatFromE4m3(static_cast<uint8_t>(v.codes[at]));
  return scale * static_cast<float>(v.codes[at] - (v.zeros != nullptr ? v.zeros[group] : 0));
}

void PutElement(const RowOf& row, WeightScheme scheme, int64_t lane, int64_t k, uint8_t* panel) {
  const WeightView& v = *row.view;
  const int64_t at = row.index * v.k + k;
  const auto put = [&](ScalarType type, auto bits) {
    if (v.codes_type == CodeType::kDense && v.dense_type == type) {
      bits = static_cast<decltype(bits)>(Bits(v.dense, type, at));
    }
    std::memcpy(panel + (k * kPanel + lane) * static_cast<int64_t>(sizeof(bits)), &bits,
                sizeof(bits));
  };
  switch (scheme) {
    case WeightScheme::kFp32:
      return put(ScalarType::kFp32, std::bit_cast<uint32_t>(Value(row, k)));
    case WeightScheme::kFp16:
      return put(ScalarType::kFp16, Fp16FromFloat(Value(row, k)));
    case WeightScheme::kBf16:
      return put(ScalarType::kBf16, Bf16FromFloat(Value(row, k)));
    case WeightScheme::kW8A8:
      panel[(k / 4 * kPanel + lane) * 4 + k % 4] = static_cast<uint8_t>(v.codes[at] + 128);
      return;
    case WeightScheme::kW8A8Fp8:
      panel[k * kPanel + lane] = static_cast<uint8_t>(v.codes[at]);
      return;
    case WeightScheme::kW4A16:
    case WeightScheme::kW4A8: {
      const int code = v.codes[at] + (v.codes_type == CodeType::kInt4 ? 8 : 0);
      panel[(k / 8 * kPanel + lane) * 4 + k % 4] |=
          static_cast<uint8_t>(code << (k % 8 >= 4 ? 4 : 0));
      return;
    }
  }
}

int64_t PaddedBytes(WeightScheme scheme, int64_t k) {
  const int64_t padded = (k + 31) / 32 * 32;
  switch (scheme) {
    case WeightScheme::kFp32:
      return k * 4;
    case WeightScheme::kFp16:
    case WeightScheme::kBf16:
      return (k + 1) / 2 * 4;
    case WeightScheme::kW8A8:
      return padded;
    case WeightScheme::kW8A8Fp8:
      return k;
    case WeightScheme::kW4A16:
    case WeightScheme::kW4A8:
      return padded / 2;
  }
  return 0;
}

PackedBytes Reference(std::span<const WeightView> parts, WeightScheme scheme) {
  std::vector<RowOf> rows;
  for (const WeightView& v : parts) {
    for (int64_t i = 0; i < v.n; ++i) rows.push_back({&v, i});
  }
  const WeightView& form = parts.front();
  const auto panels = static_cast<int64_t>((rows.size() + kPanel - 1) / kPanel);
  const int64_t panel_bytes = PaddedBytes(scheme, form.k) * kPanel;
  PackedBytes bytes;
  bytes.panels.resize(static_cast<size_t>(panels * panel_bytes));
  const bool codes = TakesQuantizedActivations(scheme) || scheme == WeightScheme::kW4A16;
  const int64_t groups = codes ? Groups(form) : 0;
  const auto size = static_cast<int64_t>(BytesOf(form.scale_type));
  bytes.scales.resize(static_cast<size_t>(panels * groups * kPanel * size));
  std::vector<uint8_t> zeros(static_cast<size_t>(panels * groups * kPanel));
  bool all_eight = true;
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto panel = static_cast<int64_t>(r) / kPanel;
    const auto lane = static_cast<int64_t>(r) % kPanel;
    for (int64_t k = 0; k < form.k; ++k) {
      PutElement(rows[r], scheme, lane, k, bytes.panels.data() + panel * panel_bytes);
    }
    const WeightView& v = *rows[r].view;
    for (int64_t j = 0; j < groups; ++j) {
      const int64_t to = (panel * groups + j) * kPanel + lane;
      const int64_t from = rows[r].index * groups + j;
      const uint32_t scale = Bits(v.scales, v.scale_type, from);
      std::memcpy(bytes.scales.data() + to * size, &scale, static_cast<size_t>(size));
      const int zero =
          (v.zeros != nullptr ? v.zeros[from] : 0) + (v.codes_type == CodeType::kInt4 ? 8 : 0);
      zeros[static_cast<size_t>(to)] = static_cast<uint8_t>(zero);
      all_eight = all_eight && zero == 8;
    }
  }
  if ((scheme == WeightScheme::kW4A16 || scheme == WeightScheme::kW4A8) && !all_eight) {
    bytes.zeros = zeros;
  }
  return bytes;
}

std::vector<uint8_t> Copy(const uint8_t* from, size_t size) {
  return from == nullptr ? std::vector<uint8_t>{} : std::vector<uint8_t>(from, from + size);
}

// Parts run in any order: last first.
void ExpectReferenceBytes(std::span<const WeightView> views, WeightScheme scheme,
                          const PackedBytes& expected) {
  for (const int parts : {1, 2, 3, 7}) {
    const PackResult packed = PackInParts(views, scheme, [parts](const auto& work) {
      for (int part = parts - 1; part >= 0; --part) work(part, parts);
    });
    ASSERT_EQ(packed.problem, "");
    const PackedWeight& w = packed.weight;
    ASSERT_EQ(w.bytes(), expected.panels.size() + expected.scales.size() + expected.zeros.size());
    EXPECT_EQ(Copy(w.panel(0), expected.panels.size()), expected.panels) << parts << " parts";
    if (w.groups() == 0) continue;
    EXPECT_EQ(Copy(w.scales(0), expected.scales.size()), expected.scales) << parts << " parts";
    EXPECT_EQ(Copy(w.zeros(0), expected.zeros.size()), expected.zeros) << parts << " parts";
  }
}

std::vector<WeightForm> FormsAndRoundings() {
  std::vector<WeightForm> forms = AllForms();
  const ScalarType types[] = {ScalarType::kFp32, ScalarType::kFp16, ScalarType::kBf16};
  for (const WeightScheme scheme :
       {WeightScheme::kFp32, WeightScheme::kFp16, WeightScheme::kBf16}) {
    for (const ScalarType type : types) forms.push_back({scheme, CodeType::kDense, type});
    forms.push_back({scheme, CodeType::kInt8, ScalarType::kFp16, 16, true});
    forms.push_back({scheme, CodeType::kUint4, ScalarType::kFp32, 32, true});
    forms.push_back({scheme, CodeType::kE4m3, ScalarType::kBf16});
  }
  return forms;
}

TEST(PackBytes, AreThoseOfTheLayout) {
  ForEachTarget([] {
    for (const WeightForm& form : FormsAndRoundings()) {
      for (const int64_t n : {1, 15, 16, 17, 50}) {
        for (const int64_t k : {1, 3, 8, 31, 33, 64, 100, 273}) {
          SCOPED_TRACE(Describe(form) + ", " + std::to_string(n) + " x " + std::to_string(k));
          const TestWeight w(form, n, k, 3);
          const WeightView view = w.View();
          ExpectReferenceBytes({&view, 1}, form.scheme, Reference({&view, 1}, form.scheme));
        }
      }
    }
  });
}

TEST(PackBytes, OfStackedPartsThatSplitPanels) {
  for (const WeightForm& form : FormsAndRoundings()) {
    SCOPED_TRACE(Describe(form));
    const TestWeight a(form, 5, 97, 1);
    const TestWeight b(form, 1, 97, 2);
    const TestWeight c(form, 40, 97, 3);
    const TestWeight d(form, 19, 97, 4);
    const WeightView views[] = {a.View(), b.View(), c.View(), d.View()};
    ExpectReferenceBytes(views, form.scheme, Reference(views, form.scheme));
  }
}

TEST(PackBytes, OfRowsThatAreNowhereHeld) {
  const TestWeight w({WeightScheme::kFp16, CodeType::kDense, ScalarType::kFp32}, 37, 75, 8);
  const WeightView held = w.View();
  const RowSource rows = [&w](int64_t row, float* out) {
    std::copy_n(w.dense32.data() + row * w.k, w.k, out);
  };
  WeightView made{.n = w.n, .k = w.k};
  made.rows = &rows;
  for (const WeightScheme scheme :
       {WeightScheme::kFp32, WeightScheme::kFp16, WeightScheme::kBf16}) {
    const WeightView views[] = {made, held};
    const WeightView all_held[] = {held, held};
    ExpectReferenceBytes(views, scheme, Reference(all_held, scheme));
  }
}

TEST(PackBytes, KeepTheSpecialNumbersOfTheirOwnType) {
  const uint16_t halves[] = {0x7C00, 0xFC00, 0x7C01, 0xFFFF, 0x0001, 0x8000, 0x7FC0, 0x3C00};
  for (const ScalarType type : {ScalarType::kFp16, ScalarType::kBf16}) {
    const WeightView view{.n = 2, .k = 4, .dense = halves, .dense_type = type};
    for (const WeightScheme scheme :
         {WeightScheme::kFp32, WeightScheme::kFp16, WeightScheme::kBf16}) {
      ExpectReferenceBytes({&view, 1}, scheme, Reference({&view, 1}, scheme));
    }
  }
}

std::vector<WeightView> Views(const TestWeight& w) { return {w.View()}; }

TEST(PackInParts, FindsTheOneWrongCodeOfAnyRow) {
  const auto run = [](const auto& work) {
    for (int part = 0; part < 3; ++part) work(part, 3);
  };
  const WeightForm forms[] = {
      {WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 32, true},
      {WeightScheme::kW4A8, CodeType::kInt4, ScalarType::kFp16, 32},
      {WeightScheme::kW8A8Fp8, CodeType::kE4m3, ScalarType::kFp32},
  };
  for (const WeightForm& form : forms) {
    for (const int64_t row : {0, 17, 40}) {
      for (const int64_t column : {0, 5, 66}) {
        TestWeight w(form, 41, 67, 1);
        ASSERT_EQ(PackInParts(Views(w), form.scheme, run).problem, "");
        const auto at = static_cast<size_t>(row * w.k + column);
        for (const int code : {form.codes == CodeType::kE4m3 ? 0x7F : 16, -1, -9, -128, 127}) {
          w.codes[at] = static_cast<int8_t>(code);
          const std::string problem = PackProblem(w.View(), form.scheme);
          const PackResult packed = PackInParts(Views(w), form.scheme, run);
          EXPECT_EQ(packed.problem, problem) << Describe(form) << " code " << code;
          EXPECT_EQ(packed.weight.n() == 0, !problem.empty());
        }
      }
    }
  }
}

TEST(PackInParts, FindsTheOneWrongZeroPoint) {
  TestWeight w({WeightScheme::kW4A16, CodeType::kUint4, ScalarType::kFp16, 32, true}, 41, 67, 1);
  for (const int32_t zero : {-1, 256, INT32_MIN, INT32_MAX}) {
    w.zeros.back() = zero;
    const auto packed = PackInParts(Views(w), w.form.scheme, [](const auto& work) { work(0, 1); });
    EXPECT_NE(packed.problem.find(std::to_string(zero)), std::string::npos) << packed.problem;
  }
}

}  // namespace
}  // namespace baton::kernels
