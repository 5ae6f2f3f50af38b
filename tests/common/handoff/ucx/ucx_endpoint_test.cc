#include "common/handoff/ucx/ucx_endpoint.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace baton::ucx {
namespace {

TEST(SocketAddress, ResolvesNumbersAndNames) {
  const auto v4 = SocketAddress::Resolve("127.0.0.1:1234");
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_EQ(v4->host, "127.0.0.1");
  const auto& address = reinterpret_cast<const sockaddr_in&>(v4->storage);
  EXPECT_EQ(address.sin_family, AF_INET);
  EXPECT_EQ(ntohs(address.sin_port), 1234);
  EXPECT_EQ(v4->length, sizeof(sockaddr_in));
  const auto v6 = SocketAddress::Resolve("[::1]:80");
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_EQ(v6->host, "[::1]");
  EXPECT_EQ(v6->storage.ss_family, AF_INET6);
  EXPECT_TRUE(SocketAddress::Resolve("localhost:0").ok());
}

TEST(SocketAddress, RefusesMalformedEndpoints) {
  for (const char* endpoint : {"", "host", ":1", "127.0.0.1:", "127.0.0.1:http x"}) {
    const auto address = SocketAddress::Resolve(endpoint);
    ASSERT_FALSE(address.ok()) << endpoint;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << address.status();
  }
}

constexpr char kLanes[] =
    "#                 lane[0]: cm tcp\n"
    "#                 lane[1]:  3:sysv/memory.0 md[2]   -> md[2]/sysv/sysdev[255] am keepalive\n"
    "#                 lane[2]:  2:tcp/lo.0 md[1]        -> md[1]/tcp/sysdev[255] rma_bw#0 "
    "wireup\n";

TEST(FabricsIn, LanesOfMessagesUnlessATableSaysWhatCarriesSlabs) {
  EXPECT_EQ(FabricsIn(""), "none");
  EXPECT_EQ(FabricsIn(kLanes), "sysv");
  const std::string other =
      "# | active message by ucp_am_send* with reply flag(multi) from host memory |\n"
      "# | 1..inf | rendezvous | tcp/lo |\n";
  EXPECT_EQ(FabricsIn(kLanes + other), "sysv");
  const std::string table =
      "# | active message by ucp_am_send* with reply flag(rndv) from host memory |\n"
      "# |   Range | Description | Config |\n"
      "# |       0 | rendezvous no data fetch | |\n"
      "# |  1..inf | rendezvous | 50% on cma/memory and 50% on tcp/eth0 |\n";
  EXPECT_EQ(FabricsIn(kLanes + table + other), "cma+tcp");
}

}  // namespace
}  // namespace baton::ucx
