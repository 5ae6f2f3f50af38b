#include "common/eval/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "common/base/check.h"

namespace baton {
namespace {

constexpr std::array<std::string_view, 6> kColours = {"#1f77b4", "#d62728", "#2ca02c",
                                                      "#9467bd", "#ff7f0e", "#17becf"};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Control characters are not legal in XML.
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string Text(double x, double y, std::string_view anchor, std::string_view text,
                 std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more, Escaped(text));
}

std::string Page(double width, double height, const std::string& body) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{2}</svg>\n",
      width, height, body);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Not empty, and with an extent to divide by.
  Range Usable() const {
    if (low > high) return {0, 1};
    return low == high ? Range{low - 0.5, high + 0.5} : *this;
  }
};

// 1, 2 or 5 times a power of ten, so that at most six steps fill the extent.
double TickStep(double extent) {
  const double rough = extent / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

// One panel's axes: from values to the page.
class Frame {
 public:
  static constexpr double kWidth = 720, kHeight = 300;

  Frame(const LinePanel& panel, double top) : panel_(panel), top_(top) {
    Range x, y;
    y.Add(0);
    for (const LineSeries& series : panel.series) {
      BATON_CHECK(series.x.size() == series.y.size());
      for (const double value : series.x) x.Add(value);
      for (const double value : series.y) y.Add(value);
    }
    x_ = x.Usable();
    y_ = y.Usable();
  }

  std::string Axes() const {
    std::string out = Text(kWidth / 2, top_ + 18, "middle", panel_.title, " font-size=\"14\"");
    out += fmt::format(
        "<rect x=\"{}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" fill=\"none\" "
        "stroke=\"#888\"/>\n",
        kLeft, top_ + kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
    const double x_step = TickStep(x_.high - x_.low);
    for (double x = std::ceil(x_.low / x_step) * x_step; x <= x_.high; x += x_step) {
      out += Text(X(x), top_ + kHeight - kBottom + 16, "middle", fmt::format("{:g}", x));
    }
    const double y_step = TickStep(y_.high - y_.low);
    for (double y = std::ceil(y_.low / y_step) * y_step; y <= y_.high; y += y_step) {
      out +=
          fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n",
                      kLeft, kWidth - kRight, Y(y), Y(y));
      // A tick next to zero is zero: sums of steps are not exact.
      const double shown = std::abs(y) < y_step / 2 ? 0 : y;
      out += Text(kLeft - 6, Y(y) + 4, "end", fmt::format("{:.6g}", shown));
    }
    out += Text(kWidth / 2, top_ + kHeight - 8, "middle", panel_.x_title);
    out += Text(16, top_ + kHeight / 2, "middle", panel_.y_title,
                fmt::format(" transform=\"rotate(-90 16 {:.1f})\"", top_ + kHeight / 2));
    return out;
  }

  std::string Lines() const {
    std::string out;
    for (size_t i = 0; i < panel_.series.size(); ++i) {
      const LineSeries& series = panel_.series[i];
      const std::string_view colour = kColours[i % kColours.size()];
      std::string path;
      bool drawing = false;
      for (size_t p = 0; p < series.x.size(); ++p) {
        if (!std::isfinite(series.x[p]) || !std::isfinite(series.y[p])) {
          drawing = false;
          continue;
        }
        path +=
            fmt::format("{}{:.1f} {:.1f} ", drawing ? "L" : "M", X(series.x[p]), Y(series.y[p]));
        drawing = true;
      }
      out += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
                         path, colour);
      out += Text(kWidth - kRight - 6, top_ + kTop + 16 + 16 * static_cast<double>(i), "end",
                  series.name, fmt::format(" fill=\"{}\"", colour));
    }
    return out;
  }

 private:
  static constexpr double kLeft = 80, kRight = 20, kTop = 28, kBottom = 44;

  double X(double value) const {
    return kLeft + (value - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return top_ + kHeight - kBottom -
           (value - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  const LinePanel& panel_;
  const double top_;
  Range x_, y_;
};

}  // namespace

std::string DrawLines(const std::vector<LinePanel>& panels) {
  std::string body;
  for (size_t i = 0; i < panels.size(); ++i) {
    const Frame frame(panels[i], Frame::kHeight * static_cast<double>(i));
    body += frame.Axes() + frame.Lines();
  }
  return Page(Frame::kWidth, Frame::kHeight * static_cast<double>(panels.size()), body);
}

std::string DrawHeatMap(const HeatMap& map) {
  BATON_CHECK(map.values.size() == map.rows.size() * map.columns.size());
  constexpr double kLeft = 190, kTop = 64, kCellWidth = 84, kCellHeight = 22, kMargin = 12;
  double highest = 0;
  for (const double value : map.values) {
    if (std::isfinite(value)) highest = std::max(highest, value);
  }
  std::string body = Text(kMargin, 20, "start", map.title, " font-size=\"14\"");
  body += Text(kMargin, kTop - 8, "start", map.rows_title);
  const double middle = kLeft + kCellWidth * static_cast<double>(map.columns.size()) / 2;
  body += Text(middle, kTop - 26, "middle", map.columns_title);
  for (size_t column = 0; column < map.columns.size(); ++column) {
    body += Text(kLeft + kCellWidth * (static_cast<double>(column) + 0.5), kTop - 8, "middle",
                 map.columns[column]);
  }
  for (size_t row = 0; row < map.rows.size(); ++row) {
    const double y = kTop + kCellHeight * static_cast<double>(row);
    body += Text(kLeft - 8, y + 15, "end", map.rows[row]);
    for (size_t column = 0; column < map.columns.size(); ++column) {
      const double value = map.values[row * map.columns.size() + column];
      const double x = kLeft + kCellWidth * static_cast<double>(column);
      const double share = highest > 0 && value > 0 ? std::sqrt(std::min(1.0, value / highest)) : 0;
      const int fade = 255 - static_cast<int>(std::lround(190 * share));
      body += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" fill=\"rgb(255,{},{})\" "
          "stroke=\"#ccc\"/>\n",
          x, y, kCellWidth, kCellHeight, fade, fade);
      body += Text(x + kCellWidth / 2, y + 15, "middle", fmt::format("{:+.2f}", value));
    }
  }
  return Page(kLeft + kCellWidth * static_cast<double>(map.columns.size()) + kMargin,
              kTop + kCellHeight * static_cast<double>(map.rows.size()) + kMargin, body);
}

}  // namespace baton
