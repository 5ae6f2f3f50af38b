#include "common/handoff/handoff_client.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {

absl::StatusOr<std::unique_ptr<HandoffClient>> HandoffClient::Create(Config config,
                                                                     Collaborators collaborators,
                                                                     Events events) {
  if (config.arena_bytes < 2 * config.sender.slab_bytes) {
    return InvalidArgument("arena bytes: {}, expected at least two slabs of {} bytes",
                           config.arena_bytes, config.sender.slab_bytes);
  }
  BulkTransport& transport = collaborators.transport;
  std::unique_ptr<HandoffClient> client(
      new HandoffClient(std::move(config), std::move(collaborators), std::move(events)));
  BATON_RETURN_IF_ERROR(transport.RegisterArena(client->arena_.span()));
  return client;
}

HandoffClient::HandoffClient(Config config, Collaborators collaborators, Events events)
    : config_(std::move(config)),
      mailbox_(collaborators.mailbox),
      events_(std::move(events)),
      arena_(config_.arena_bytes),
      pump_(collaborators.runner, collaborators.executor, mailbox_, collaborators.clock,
            arena_.span(),
            {.packed =
                 [this](const TransferKey& key, uint32_t slab, uint64_t checksum, Duration spent) {
                   Transfer* transfer = Find(key);
                   if (transfer == nullptr) return;
                   transfer->pack_time += spent;
                   transfer->sender.Packed(slab, checksum);
                   Apply(*transfer);
                 },
             .sent =
                 [this, &clock = collaborators.clock](const TransferKey& key, uint32_t slab,
                                                      const absl::Status& status) {
                   Transfer* transfer = Find(key);
                   if (transfer == nullptr) return;
                   transfer->sender.Sent(slab, status, clock.Now());
                   Apply(*transfer);
                 },
             .device_failed =
                 [this](const absl::Status& status) {
                   mailbox_.Post([this, status] { events_.device_failed(status); });
                 }}),
      links_(config_.self, std::move(collaborators.opener), collaborators.transport, mailbox_,
             {.message = [this](HandoffLinks::LinkId link, TransferId id,
                                const v1::HandoffResponse& m) { OnMessage(link, id, m); },
              .renewed = [this](HandoffLinks::LinkId link,
                                const std::vector<TransferId>& ids) { OnRenewed(link, ids); },
              .broken = [this](HandoffLinks::LinkId link,
                               const absl::Status& status) { OnBroken(link, status); }}) {}

void HandoffClient::Open(HandoffSender::Transfer transfer, const DecodeAddress& decode) {
  const auto link = links_.Connect(decode);
  const TransferKey key{transfer.id, transfer.attempt};
  const HandoffLinks::LinkId link_id = link.ok() ? *link : 0;
  const auto [it, is_new] = transfers_.try_emplace(
      key.id, Transfer{link_id, HandoffSender(config_.sender, std::move(transfer))});
  BATON_CHECK(is_new);
  if (!link.ok()) it->second.sender.Lost(link.status());
  Apply(it->second);
}

void HandoffClient::Computed(TransferId id, uint32_t end_token) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  found->second.sender.Computed(end_token);
  Apply(found->second);
}

void HandoffClient::FirstToken(TransferId id, int32_t token, std::optional<v1::Logprobs> logprobs) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  found->second.sender.FirstToken(token, std::move(logprobs));
  Apply(found->second);
}

void HandoffClient::Close(TransferId id, v1::AbortReason reason) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  found->second.sender.Abort(reason);
  Apply(found->second);
  pump_.Drop({id, found->second.sender.transfer().attempt});
  transfers_.erase(found);
}

void HandoffClient::Tick(TimePoint now) {
  for (auto& [id, transfer] : transfers_) {
    transfer.sender.Tick(now);
    Apply(transfer);
  }
  if (now >= renew_due_) {
    Renew();
    renew_due_ = now + config_.renew_period;
  }
}

void HandoffClient::Clear() {
  for (const auto& [id, transfer] : transfers_) {
    pump_.Drop({id, transfer.sender.transfer().attempt});
  }
  transfers_.clear();
  links_.Clear();
}

bool HandoffClient::granted(TransferId id) const {
  const auto found = transfers_.find(id);
  return found != transfers_.end() && found->second.sender.granted();
}

HandoffClient::Cost HandoffClient::cost(TransferId id) const {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return {};
  return {found->second.pack_time, found->second.sender.bytes_wire()};
}

HandoffClient::Transfer* HandoffClient::Find(const TransferKey& key) {
  const auto found = transfers_.find(key.id);
  if (found == transfers_.end() || found->second.sender.transfer().attempt != key.attempt) {
    return nullptr;
  }
  return &found->second;
}

void HandoffClient::Apply(Transfer& transfer) {
  const TransferKey key{transfer.sender.transfer().id, transfer.sender.transfer().attempt};
  for (SenderAction& action : transfer.sender.TakeActions()) {
    if (auto* control = std::get_if<SendControl>(&action)) {
      links_.Send(transfer.link, std::move(control->message));
    } else if (const auto* pack = std::get_if<PackSlab>(&action)) {
      pump_.Pack(key, *pack, events_.share_pages(key.id));
    } else if (const auto* send = std::get_if<SendSlab>(&action)) {
      pump_.Send(key, send->slab, send->header, links_.bulk(transfer.link));
    } else {
      PostEnded(key, std::move(std::get<TransferEnded>(action)));
    }
  }
}

void HandoffClient::PostEnded(const TransferKey& key, TransferEnded ended) {
  pump_.Drop(key);
  mailbox_.Post([this, key, ended = std::move(ended)] {
    if (Find(key) == nullptr) return;  // closed meanwhile
    events_.ended(key, ended);
  });
}

void HandoffClient::OnMessage(HandoffLinks::LinkId link, TransferId id,
                              const v1::HandoffResponse& message) {
  Transfer* transfer = Find({id, message.attempt()});
  if (transfer == nullptr || transfer->link != link) {
    ++stale_messages_;
    return;
  }
  transfer->sender.Receive(message);
  Apply(*transfer);
}

void HandoffClient::OnRenewed(HandoffLinks::LinkId link, const std::vector<TransferId>& ids) {
  for (const TransferId& id : ids) {
    const auto found = transfers_.find(id);
    // Only the peer that the transfer is attached to may keep its pages alive.
    if (found == transfers_.end() || found->second.link != link || found->second.sender.ended()) {
      continue;
    }
    events_.renewed(id);
  }
}

void HandoffClient::OnBroken(HandoffLinks::LinkId link, const absl::Status& status) {
  for (auto& [id, transfer] : transfers_) {
    if (transfer.link != link) continue;
    transfer.sender.Lost(status);
    Apply(transfer);
  }
}

void HandoffClient::Renew() {
  std::map<HandoffLinks::LinkId, v1::HandoffRequest> batches;
  for (const auto& [id, transfer] : transfers_) {
    if (transfer.sender.ended()) continue;
    *batches[transfer.link].mutable_renew()->add_transfer_ids() = id.ToBytes();
  }
  for (auto& [link, batch] : batches) links_.Send(link, std::move(batch));
}

}  // namespace baton
