#!/usr/bin/env python3
"""What a client can ask for, through real processes: sampling, stops, bad input, many at once."""

import json
import random
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import BIN, FLOAT, TINY, baton, cluster

GREEDY = ("--temperature=0", "--ignore-eos")


class RequestsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = cluster(*FLOAT, "--prefill=2", "--decode=2", "--prefix-cache=off")
        cls.cluster = cls.context.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def refused(self, *arguments):
        result = self.cluster.generate(*arguments, check=False)
        self.assertNotEqual(0, result.returncode, result.stdout)
        return result.stderr

    def wait_until_free(self):
        """All KV pages come back; reports arrive every half second."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            status = self.cluster.status()
            if status["live_requests"] == 0 and all(w["pages_free"] == w["pages_total"] and w["running"] == 0
                                                    for w in status["workers"]):
                return
            time.sleep(0.1)
        self.fail(f"not free after 30 s: {status}")

    def test_text_prompt_and_detokenized_output(self):
        got = self.cluster.generate("--prompt=It was a dark and stormy night, and", "--max-tokens=20", *GREEDY)
        ids = ",".join(map(str, got["token_ids"]))
        decoded = json.loads(baton("tokenize", f"--model={TINY}", f"--decode={ids}", "--output=json"))
        self.assertEqual(decoded["text"], got["text"])
        self.assertEqual("length", got["finish_reason"])

    def test_the_same_seed_gives_the_same_tokens(self):
        ask = ("--prompt=The sea", "--max-tokens=24", "--temperature=0.9", "--top-p=0.9", "--top-k=50", "--ignore-eos")
        first = self.cluster.generate(*ask, "--seed=7")
        self.assertEqual(first["token_ids"], self.cluster.generate(*ask, "--seed=7")["token_ids"])
        self.assertNotEqual(first["token_ids"], self.cluster.generate(*ask, "--seed=8")["token_ids"])

    def test_one_token_needs_no_decode_worker(self):
        got = self.cluster.generate("--prompt=The sea", "--max-tokens=1", *GREEDY)
        self.assertEqual(1, len(got["token_ids"]))
        self.assertEqual("", got["workers"]["decode"])
        self.assertEqual(0, got["kv"]["slabs"])

    def test_stop_id_and_stop_string(self):
        free = self.cluster.generate("--prompt=The sea", "--max-tokens=16", *GREEDY)
        third = free["token_ids"][2]
        got = self.cluster.generate("--prompt=The sea", "--max-tokens=16", *GREEDY, f"--stop-token-ids={third}")
        self.assertEqual("stop", got["finish_reason"])
        self.assertEqual(free["token_ids"].index(third) + 1, len(got["token_ids"]))
        # A stop string that begins in the prefill worker's token and ends in the decode worker's.
        two = json.loads(baton("tokenize", f"--model={TINY}", "--decode=" + ",".join(map(str, free["token_ids"][:2])),
                               "--output=json"))["text"]
        got = self.cluster.generate("--prompt=The sea", "--max-tokens=16", *GREEDY, f"--stop={two}")
        self.assertEqual("stop", got["finish_reason"])
        self.assertEqual("", got["text"])
        self.assertEqual(2, got["usage"]["completion_tokens"])
        self.assertEqual(two, got["matched_stop"])

    def test_logprobs_list_the_alternatives(self):
        got = self.cluster.generate("--prompt=The sea", "--max-tokens=4", *GREEDY, "--logprobs=3")
        for entry in got["logprobs"]:
            self.assertEqual(3, len(entry["top"]))
            self.assertAlmostEqual(entry["logprob"], entry["top"][0]["logprob"], places=5)

    def test_bias_and_penalties_change_the_tokens_of_both_workers(self):
        ask = ("--prompt=The sea, the sea, the sea", "--max-tokens=32", *GREEDY)
        free = self.cluster.generate(*ask)["token_ids"]
        banned = ",".join(f"{token}:-100" for token in set(free))
        got = self.cluster.generate(*ask, f"--logit-bias={banned}")["token_ids"]
        self.assertFalse(set(free) & set(got))
        # The largest penalties leave little room for a token to come back.
        once = self.cluster.generate(*ask, "--presence-penalty=2", "--frequency-penalty=2",
                                     "--repetition-penalty=2")["token_ids"]
        self.assertGreater(len(set(once)), len(set(free)))

    def test_bad_input_is_named_and_harms_nobody(self):
        cases = [
            (("--prompt=x", "--temperature=-1"), "INVALID_ARGUMENT", "temperature"),
            (("--prompt=x", "--top-p=1.5"), "INVALID_ARGUMENT", "top_p"),
            (("--prompt=x", "--max-tokens=0"), "INVALID_ARGUMENT", "max_tokens"),
            (("--prompt=x", "--max-tokens=4000"), "INVALID_ARGUMENT", "max_tokens"),
            (("--token-ids=1,2,999999",), "INVALID_ARGUMENT", "999999"),
            (("--prompt=x", "--model=nosuch"), "NOT_FOUND", "nosuch"),
            (("--prompt=x", "--logprobs=100"), "INVALID_ARGUMENT", "logprobs"),
            (("--prompt=x", "--min-p=2"), "INVALID_ARGUMENT", "min_p"),
            (("--prompt=x", "--presence-penalty=3"), "INVALID_ARGUMENT", "presence_penalty"),
            (("--prompt=x", "--logit-bias=999999:1"), "INVALID_ARGUMENT", "logit_bias"),
        ]
        for arguments, code, word in cases:
            with self.subTest(arguments=arguments):
                error = self.refused(*arguments)
                self.assertIn(code, error)
                self.assertIn(word, error)
        self.cluster.generate("--prompt=still here", "--max-tokens=2", *GREEDY)

    def test_wrong_flags_are_refused_by_name(self):
        for program, flag, word in (("baton-prefill", "--weights=w3a16", "w3a16"), ("baton-decode", "--kv-format=fp7", "fp7"),
                                    ("baton-prefill", "--transport=nccl", "nccl"), ("baton-router", "--policy=best", "best"),
                                    ("baton-decode", "--page-tokens=17", "17"), ("baton-decode", "--no-such-flag", "no-such-flag")):
            with self.subTest(program=program, flag=flag):
                result = subprocess.run([str(BIN / program), f"--model={TINY}", "--router=127.0.0.1:1", flag],
                                        capture_output=True, text=True, timeout=30)
                self.assertNotEqual(0, result.returncode)
                self.assertIn(word, result.stderr + result.stdout)

    def test_fifty_at_once_a_third_cancelled(self):
        rng = random.Random(11)
        prompts = [[rng.randrange(1, 4000) for _ in range(rng.randrange(5, 300))] for _ in range(50)]
        alone = [self.cluster.generate_ids(p, "--max-tokens=24", *GREEDY)["token_ids"] for p in prompts]
        delays = [rng.random() * 1.5 if i % 3 == 0 else None for i in range(len(prompts))]

        def run(i):
            ids = ",".join(map(str, prompts[i]))
            process = subprocess.Popen([str(BIN / "baton"), "generate", "--endpoint", self.cluster.endpoint, f"--token-ids={ids}",
                                        "--max-tokens=24", *GREEDY, "--output=json"], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            try:
                out, error = process.communicate(timeout=delays[i] or 120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return None
            self.assertEqual(0, process.returncode, error)
            return json.loads(out)["token_ids"]

        with ThreadPoolExecutor(len(prompts)) as pool:
            together = list(pool.map(run, range(len(prompts))))
        for i, tokens in enumerate(together):
            if delays[i] is None or tokens is not None:
                self.assertEqual(alone[i], tokens, f"request {i}")
        self.assertGreaterEqual(sum(t is not None for t in together), 33)
        self.wait_until_free()


if __name__ == "__main__":
    unittest.main(verbosity=2)
