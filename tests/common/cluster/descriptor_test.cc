#include "common/cluster/descriptor.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/status.h"

namespace baton {
namespace {

v1::WorkerDescriptor Descriptor() {
  v1::WorkerDescriptor d;
  d.mutable_identity()->set_worker_id("d0");
  d.mutable_identity()->set_incarnation(7);
  d.set_role(v1::ROLE_DECODE);
  d.set_model("m");
  d.set_rpc_endpoint("h:1");
  d.set_kv_endpoint("h:2");
  d.set_max_context(128);
  d.mutable_contract()->mutable_model()->set_architecture("A");
  d.mutable_contract()->add_wire_formats(v1::KV_FORMAT_FP16);
  return d;
}

TEST(DescriptorTest, AUsableDescriptorPasses) {
  EXPECT_TRUE(ValidateDescriptor(Descriptor()).ok());
}

TEST(DescriptorTest, KeyAndIdentityAreInverse) {
  const WorkerKey key = KeyOf(Descriptor().identity());
  EXPECT_EQ(KeyOf(IdentityOf(key)), key);
  EXPECT_EQ(ToString(key), "d0/0000000000000007");
}

struct BadCase {
  const char* field;
  std::function<void(v1::WorkerDescriptor&)> change;
};
class BadDescriptorTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadDescriptorTest, IsRefusedByFieldName) {
  v1::WorkerDescriptor d = Descriptor();
  GetParam().change(d);
  const absl::Status status = ValidateDescriptor(d);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status).rfind(GetParam().field, 0), 0u) << status;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, BadDescriptorTest,
    ::testing::Values(
        BadCase{"identity.worker_id", [](auto& d) { d.mutable_identity()->clear_worker_id(); }},
        BadCase{"identity.worker_id",
                [](auto& d) { d.mutable_identity()->set_worker_id(std::string(200, 'a')); }},
        BadCase{"identity.worker_id", [](auto& d) { d.mutable_identity()->set_worker_id("a\nb"); }},
        BadCase{"model", [](auto& d) { d.clear_model(); }},
        BadCase{"rpc_endpoint", [](auto& d) { d.clear_rpc_endpoint(); }},
        BadCase{"kv_endpoint", [](auto& d) { d.clear_kv_endpoint(); }},
        BadCase{"role", [](auto& d) { d.set_role(v1::ROLE_UNSPECIFIED); }},
        BadCase{"max_context", [](auto& d) { d.set_max_context(0); }},
        BadCase{"contract.wire_formats",
                [](auto& d) { d.mutable_contract()->clear_wire_formats(); }},
        BadCase{"contract.model.architecture",
                [](auto& d) { d.mutable_contract()->clear_model(); }},
        BadCase{"contract.producer.weights_digest", [](auto& d) {
                  d.mutable_contract()->mutable_producer()->set_weights_digest(
                      std::string(65, 'x'));
                }}));

}  // namespace
}  // namespace baton
