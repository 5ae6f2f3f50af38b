#!/usr/bin/env python3
"""The example client of the README works as written."""

import os
import subprocess
import unittest

from harness import FLOAT, ROOT, cluster


class ExamplesTest(unittest.TestCase):
    def test_python_client(self):
        python = ROOT / ".venv/bin/python"
        if subprocess.run([str(python), "-c", "import grpc_tools"], capture_output=True).returncode != 0 if python.exists() else True:
            self.skipTest("needs grpcio-tools in .venv (deploy/install --test)")
        with cluster(*FLOAT) as c:
            result = subprocess.run([str(python), str(ROOT / "deploy/examples/generate.py"), "--prompt", "Once upon a time"],
                                    env=dict(os.environ, BATON_ENDPOINT=c.endpoint), capture_output=True, text=True, timeout=120)
            self.assertEqual(0, result.returncode, result.stderr)
            self.assertIn("prefill-0 -> decode-0", result.stdout)
            text = c.generate("--prompt=Once upon a time", "--max-tokens=32", "--temperature=0")["text"]
            self.assertIn(text, result.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
