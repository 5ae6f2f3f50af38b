#!/usr/bin/env python3
"""Different weights and different KV formats per role, through real processes."""

import json
import unittest

from harness import SHARED, TINY, baton, cluster, need_shared

PROMPT = list(range(5, 405))
# Bytes of codes and of scales of one group of 64: K, then V.
WIRE_FORMATS = {"fp16": ((128, 0), (128, 0)), "bf16": ((128, 0), (128, 0)), "fp8_e4m3": ((64, 2), (64, 2)),
                "fp8_e5m2": ((64, 0), (64, 0)), "int8": ((64, 2), (64, 2)), "int4": ((32, 4), (32, 4)), "k8v4": ((64, 2), (32, 4))}


def padded(size):
    return (size + 15) // 16 * 16


def tiny_wire_bytes(wire, tokens, chunk=256):
    """Bytes of the slabs of the shipped model (6 layers, 2 KV heads, head_dim 64), one slab a chunk."""
    total = 0
    for start in range(0, tokens, chunk):
        groups = 2 * min(chunk, tokens - start)
        total += 128 + 6 * sum(padded(groups * size) for plane in WIRE_FORMATS[wire] for size in plane)
    return total


class MixedPrecisionTest(unittest.TestCase):
    def test_each_kv_format_is_what_travels(self):
        for kv in WIRE_FORMATS:
            with self.subTest(kv=kv), cluster(f"--kv={kv}", "--prefix-cache=off") as c:
                got = c.generate_ids(PROMPT, "--max-tokens=8", "--temperature=0", "--ignore-eos")
                self.assertEqual(kv, got["kv"]["format"])
                self.assertEqual(2, got["kv"]["slabs"])
                self.assertEqual(tiny_wire_bytes(kv, len(PROMPT)), got["kv"]["bytes_wire"])
                self.assertEqual(len(PROMPT) * 6 * 2 * 64 * 2 * 2, got["kv"]["bytes_raw"])
                self.assertEqual(8, len(got["token_ids"]))

    def test_each_weight_scheme_serves_on_each_role(self):
        for prefill, decode in (("fp16", "w4a8"), ("w4a8", "w8a8"), ("w4a16", "fp16"), ("w8a8-fp8", "w4a16"), ("auto", "w8a8-fp8")):
            with self.subTest(prefill=prefill, decode=decode):
                with cluster(f"--prefill-weights={prefill}", f"--decode-weights={decode}", "--kv=int8") as c:
                    got = c.generate_ids(PROMPT, "--max-tokens=8", "--temperature=0", "--ignore-eos")
                    self.assertEqual(8, len(got["token_ids"]))
                    self.assertGreater(got["kv"]["slabs"], 0)

    def test_bench_serves_a_mixed_pair_with_no_failure(self):
        need_shared("models/small")
        with cluster("--model", SHARED / "models/small", "--prefill=2", "--decode=2", "--prefill-weights=w8a8",
                     "--decode-weights=w4a16", "--prefill-kv=fp16", "--decode-kv=int8") as c:
            out = json.loads(baton("bench", "serve", "--requests=24", "--concurrency=6", "--input-len=200", "--output-len=16",
                                   "--range-ratio=0.5", "--no-progress", "--output=json", endpoint=c.endpoint, timeout=300))
            self.assertEqual(24, out["completed"])
            self.assertEqual(0, out["failed"], out["errors"])
            self.assertGreater(out["median_ttft_ms"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
