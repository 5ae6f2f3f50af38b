#pragma once

#include <string>
#include <string_view>

namespace baton {

// grpc.health.v1: 1 serving, 2 not serving; minus the gRPC code on an error.
int CheckHealth(const std::string& endpoint, std::string_view service);

// The body of http://127.0.0.1:<port>/metrics; empty when nothing answers.
std::string Scrape(int port);

// The sum over all samples of a metric whose labels contain `labels`, e.g. `code="OK"`; NaN when
// there is none.
double ValueOf(const std::string& body, const std::string& metric, std::string_view labels = "");

}  // namespace baton
