#include "common/handoff/ucx/ucx_worker.h"

#include <utility>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_status.h"

namespace baton::ucx {
namespace {

absl::Status Apply(const UcxWorker::Config& config, ucp_config_t* settings) {
  // Error handling per peer drops shared memory from the path unless told to keep it. A build
  // without this name has no shared memory to keep.
  (void)ucp_config_modify(settings, "MM_ERROR_HANDLING", "y");
  const auto millis =
      std::chrono::ceil<std::chrono::milliseconds>(config.keepalive_interval).count();
  // A dead peer on shared memory is noticed by keepalive only.
  BATON_RETURN_IF_ERROR(FromUcs(
      ucp_config_modify(settings, "KEEPALIVE_INTERVAL", fmt::format("{}ms", millis).c_str()),
      "ucx: KEEPALIVE_INTERVAL"));
  for (const auto& [name, value] : config.settings) {
    BATON_RETURN_IF_ERROR(FromUcs(ucp_config_modify(settings, name.c_str(), value.c_str()),
                                  fmt::format("ucx: setting {}={}", name, value)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(const Config& config) {
  std::unique_ptr<UcxWorker> worker(new UcxWorker);
  BATON_RETURN_IF_ERROR(worker->CreateContext(config));
  BATON_RETURN_IF_ERROR(worker->CreateWorker());
  return worker;
}

UcxWorker::~UcxWorker() {
  DestroyWorker();
  for (const auto& [begin, arena] : arenas_) ucp_mem_unmap(context_, arena.memory.handle);
  if (context_ != nullptr) ucp_cleanup(context_);
}

void UcxWorker::DestroyWorker() {
  if (ucp_worker_h worker = std::exchange(worker_, nullptr)) ucp_worker_destroy(worker);
}

absl::Status UcxWorker::CreateContext(const Config& config) {
  ucp_config_t* settings = nullptr;
  BATON_RETURN_IF_ERROR(
      FromUcs(ucp_config_read(nullptr, nullptr, &settings), "ucx: configuration"));
  absl::Status status = Apply(config, settings);
  if (status.ok()) {
    ucp_params_t params{};
    params.field_mask =
        UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED | UCP_PARAM_FIELD_NAME;
    params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
    params.mt_workers_shared = 1;  // arenas are registered from other threads
    params.name = "baton";
    status = FromUcs(ucp_init(&params, settings, &context_), "ucx: ucp_init");
  }
  ucp_config_release(settings);
  return status;
}

absl::Status UcxWorker::CreateWorker() {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_EVENTS;
  // Created here, then used by the transport thread only: one thread at a time.
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  params.events = UCP_WAKEUP_AMO | UCP_WAKEUP_RMA | UCP_WAKEUP_TX | UCP_WAKEUP_RX;
  BATON_RETURN_IF_ERROR(
      FromUcs(ucp_worker_create(context_, &params, &worker_), "ucx: ucp_worker_create"));
  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  BATON_RETURN_IF_ERROR(FromUcs(ucp_worker_query(worker_, &attributes), "ucx: ucp_worker_query"));
  max_message_header_ = attributes.max_am_header;
  return FromUcs(ucp_worker_get_efd(worker_, &event_fd_), "ucx: ucp_worker_get_efd");
}

absl::Status UcxWorker::Register(std::span<std::byte> memory) {
  if (memory.empty()) return InvalidArgument("arena: 0 bytes, expected more");
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = memory.data();
  params.length = memory.size();
  RegisteredMemory registered{};
  BATON_RETURN_IF_ERROR(
      FromUcs(ucp_mem_map(context_, &params, &registered.handle), "ucx: ucp_mem_map"));
  ucp_mem_attr_t attributes{};
  attributes.field_mask = UCP_MEM_ATTR_FIELD_MEM_TYPE;
  absl::Status status =
      FromUcs(ucp_mem_query(registered.handle, &attributes), "ucx: ucp_mem_query");
  if (!status.ok()) {
    ucp_mem_unmap(context_, registered.handle);
    return status;
  }
  registered.type = attributes.mem_type;
  std::lock_guard lock(mutex_);
  const bool added =
      arenas_.try_emplace(memory.data(), Arena{memory.data() + memory.size(), registered}).second;
  if (added) return absl::OkStatus();
  ucp_mem_unmap(context_, registered.handle);
  return AlreadyExists("arena: registered before");
}

absl::StatusOr<RegisteredMemory> UcxWorker::Find(const std::byte* data, size_t bytes) const {
  std::lock_guard lock(mutex_);
  auto it = arenas_.upper_bound(data);
  if (it != arenas_.begin()) {
    const Arena& arena = (--it)->second;
    if (data < arena.end && bytes <= static_cast<size_t>(arena.end - data)) return arena.memory;
  }
  return InvalidArgument("slab of {} bytes: outside every registered arena", bytes);
}

std::string LibraryVersion() {
  unsigned major = 0, minor = 0, release = 0;
  ucp_get_version(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace baton::ucx
