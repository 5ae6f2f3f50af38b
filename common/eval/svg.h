#pragma once

#include <string>
#include <vector>

namespace baton {

// Drawings as SVG 1.1 text, self-contained: no fonts, scripts or links from elsewhere.

struct LineSeries {
  std::string name;
  std::vector<double> x;  // ascending
  std::vector<double> y;  // as many
};

struct LinePanel {
  std::string title;
  std::string x_title;
  std::string y_title;
  std::vector<LineSeries> series;
};

// The panels below each other. Values that are not finite leave a gap.
std::string DrawLines(const std::vector<LinePanel>& panels);

struct HeatMap {
  std::string title;
  std::string columns_title;
  std::string rows_title;
  std::vector<std::string> columns;
  std::vector<std::string> rows;
  std::vector<double> values;  // [rows][columns]; shown with two decimals
};

// From white (the lowest value, or 0) to deep red (the highest), by the square root of the value so
// that small ones stay apart.
std::string DrawHeatMap(const HeatMap& map);

}  // namespace baton
