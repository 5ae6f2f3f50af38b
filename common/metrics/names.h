#pragma once

#include <array>

#include "common/metrics/registry.h"

// Every metric of Baton: one prefix, base units, low-cardinality labels. Each process adds role,
// model and worker to all of its metrics. The comment names the labels of a metric's own.
namespace baton::metric {

// Requests (router).
inline constexpr MetricName kRequests{"baton_requests_total", "Requests ended, by status"};  // code
inline constexpr MetricName kRequestErrors{"baton_request_errors_total",
                                           "Requests that failed, by reason"};  // reason
inline constexpr MetricName kRequestsInFlight{"baton_requests_in_flight",
                                              "Requests accepted and not ended"};
inline constexpr MetricName kPromptTokens{"baton_prompt_tokens_total", "Prompt tokens of requests"};
inline constexpr MetricName kGeneratedTokens{"baton_generated_tokens_total",
                                             "Tokens delivered to clients"};
inline constexpr MetricName kRetries{"baton_retries_total", "Attempts after a loss"};  // phase
inline constexpr MetricName kResumes{"baton_resumes_total", "Requests resumed while decoding"};
inline constexpr MetricName kCancellations{"baton_cancellations_total",
                                           "Requests cancelled"};  // phase
inline constexpr MetricName kWorkers{"baton_workers",
                                     "Workers known to the router"};  // role, state

inline constexpr MetricName kModelProbeDivergence{
    "baton_model_probe_divergence",
    "Largest distance (nats) between the model probes of two workers compared so far"};

// Queues and latencies (router and workers).
inline constexpr MetricName kQueueDepth{"baton_queue_depth", "Requests waiting"};
inline constexpr MetricName kQueuedPromptTokens{"baton_queued_prompt_tokens",
                                                "Prompt tokens of the requests waiting"};
inline constexpr MetricName kQueueTime{"baton_queue_time_seconds", "Time from arrival to start"};
inline constexpr MetricName kPrefillTime{"baton_prefill_time_seconds",
                                         "Time from start to first token on the prefill worker"};
inline constexpr MetricName kTimeToFirstToken{"baton_ttft_seconds",
                                              "Time from arrival to first token"};
inline constexpr MetricName kInterTokenLatency{"baton_itl_seconds",
                                               "Time between two tokens of a request"};
inline constexpr MetricName kTimePerOutputToken{"baton_tpot_seconds",
                                                "Mean time per token of a request after its first"};
inline constexpr MetricName kEndToEnd{"baton_e2e_seconds", "Time from arrival to end"};

// KV memory and its hand-over (workers).
inline constexpr MetricName kKvBlocksUsed{"baton_kv_blocks_used", "KV pages that hold data"};
inline constexpr MetricName kKvBlocksFree{"baton_kv_blocks_free", "KV pages that are free"};
inline constexpr MetricName kKvBlocksReserved{"baton_kv_blocks_reserved",
                                              "KV pages promised to requests that wait for KV"};
inline constexpr MetricName kKvBlocksPendingTransfer{"baton_kv_blocks_pending_transfer",
                                                     "KV pages kept for a transfer"};
inline constexpr MetricName kKvUsage{"baton_kv_usage_ratio", "Share of KV pages in use"};
inline constexpr MetricName kKvTransferTime{"baton_kv_transfer_seconds",
                                            "Time from Open to Committed"};  // transport
inline constexpr MetricName kKvTransferBytes{"baton_kv_transfer_bytes_total",
                                             "Payload bytes of slabs"};  // transport
inline constexpr MetricName kKvTransferFailures{"baton_kv_transfer_failures_total",
                                                "Transfers that failed"};  // reason
inline constexpr MetricName kKvLeasesExpired{"baton_kv_leases_expired_total",
                                             "Leases that ended without renewal"};
inline constexpr MetricName kKvValidationFailures{"baton_kv_validation_failures_total",
                                                  "Slabs whose checksum or range was wrong"};
inline constexpr MetricName kKvSlabsDropped{
    "baton_kv_slabs_dropped_total", "Slabs dropped as duplicate, stale or unknown"};  // reason
inline constexpr MetricName kPrefixTokensReused{"baton_prefix_tokens_reused_total",
                                                "Prompt tokens found in the prefix index"};

// Engine (workers).
inline constexpr MetricName kBatchSize{"baton_batch_size", "Sequences in a step"};
inline constexpr MetricName kBatchTokens{"baton_batch_tokens", "Tokens computed in a step"};
inline constexpr MetricName kStepTime{"baton_step_seconds", "Time of a step"};
inline constexpr MetricName kBuildInfo{"baton_build_info", "Always 1"};  // version

// vLLM's buckets for the time to the first token, for comparison; they suit any latency of a
// request.
inline constexpr std::array kLatencyBounds = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                              0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                              20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
// Steps and gaps between tokens, seconds.
inline constexpr std::array kStepBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                           0.01,   0.025,   0.05,   0.075, 0.1,    0.25,
                                           0.5,    1.0,     2.5,    5.0,   10.0};
// Sequences or tokens.
inline constexpr std::array kSizeBounds = {1.0,    2.0,    4.0,    8.0,    16.0,
                                           32.0,   64.0,   128.0,  256.0,  512.0,
                                           1024.0, 2048.0, 4096.0, 8192.0, 16384.0};

}  // namespace baton::metric
