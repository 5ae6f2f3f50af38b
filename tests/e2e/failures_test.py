#!/usr/bin/env python3
"""Workers that die or leave, through real processes."""

import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import FLOAT, PRESET, ROOT, SHARED, cluster, need_shared

GREEDY = ("--temperature=0", "--ignore-eos")
LONG_PROMPT = [1 + (i * 37) % 4000 for i in range(1900)]


def busy(c, role):
    """The worker of the role that computes something, or None."""
    for worker in c.status()["workers"]:
        if worker["role"] == role and worker["running"] > 0:
            return worker["id"]
    return None


class FailuresTest(unittest.TestCase):
    def wait_busy(self, c, role):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            worker = busy(c, role)
            if worker:
                return worker
            time.sleep(0.02)
        self.fail(f"no {role} worker became busy")

    def wait_idle(self, c):
        deadline = time.monotonic() + 60
        while any(worker["running"] for worker in c.status()["workers"]):
            self.assertLess(time.monotonic(), deadline, "the workers do not become idle")
            time.sleep(0.05)

    def test_prefill_worker_killed_before_its_first_token(self):
        need_shared("models/small")
        # Small chunks make the prompt take long enough to be seen in a load report.
        with cluster("--model", SHARED / "models/small", *FLOAT, "--prefill=2", "--prefix-cache=off",
                     "--prefill-flag=--threads=1", "--prefill-flag=--chunk-tokens=16") as c:
            expected = c.generate_ids(LONG_PROMPT, "--max-tokens=8", *GREEDY)["token_ids"]
            self.wait_idle(c)
            with ThreadPoolExecutor(1) as pool:
                request = pool.submit(c.generate_ids, LONG_PROMPT, "--max-tokens=8", *GREEDY)
                victim = self.wait_busy(c, "prefill")
                c.kill(victim, signal.SIGKILL)
                got = request.result(timeout=120)
            self.assertEqual(expected, got["token_ids"])
            self.assertNotEqual(victim, got["workers"]["prefill"])
            self.assertEqual(2, got["attempts"])

    def test_workers_told_to_stop_finish_what_they_accepted(self):
        with cluster(*FLOAT, "--prefill=2", "--decode=2") as c:
            expected = c.generate_ids(LONG_PROMPT[:300], "--max-tokens=400", *GREEDY)["token_ids"]
            with ThreadPoolExecutor(8) as pool:
                requests = [pool.submit(c.generate_ids, LONG_PROMPT[:300], "--max-tokens=400", *GREEDY) for _ in range(8)]
                self.wait_busy(c, "decode")
                c.kill("prefill-0", signal.SIGTERM)
                c.kill("decode-0", signal.SIGTERM)
                for request in requests:
                    self.assertEqual(expected, request.result(timeout=120)["token_ids"])
            deadline = time.monotonic() + 30
            while any(w["id"] in ("prefill-0", "decode-0") and w["state"] == "ready" for w in c.status()["workers"]):
                self.assertLess(time.monotonic(), deadline, "a drained worker is still offered")
                time.sleep(0.05)
            self.assertEqual(expected, c.generate_ids(LONG_PROMPT[:300], "--max-tokens=400", *GREEDY)["token_ids"])

    def test_the_bulk_path_on_one_host_is_shared_memory(self):
        with cluster(*FLOAT) as c:
            c.generate_ids(LONG_PROMPT[:100], "--max-tokens=4", *GREEDY)
            deadline = time.monotonic() + 30
            while "posix" not in c.log("prefill-0") and "sysv" not in c.log("prefill-0"):
                self.assertLess(time.monotonic(), deadline, c.log("prefill-0"))
                time.sleep(0.1)
            self.assertNotRegex(c.log("prefill-0"), r"kv.transport.*tcp")

    def test_a_worker_that_cannot_start_is_reported_with_its_log(self):
        result = subprocess.run([sys.executable, str(ROOT / "deploy/local"), f"--preset={PRESET}", "--model=/nonexistent/model",
                                 "--", "true"], capture_output=True, text=True, timeout=120)
        self.assertEqual(1, result.returncode)
        self.assertIn("/nonexistent/model", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
