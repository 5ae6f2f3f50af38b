"""Starts real clusters with deploy/local and talks to them with the program `baton`."""

import contextlib
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = pathlib.Path(os.environ.get("BATON_SHARED_DIR", ROOT / "../shared")).resolve()
PRESET = os.environ.get("BATON_PRESET", "release")
BIN = ROOT / "build" / PRESET / "bin"
PATIENCE = 20 if PRESET == "asan" else 1  # times the limits on waits: instrumented and not optimized
TINY = ROOT / "deploy/models/tiny"
FLOAT = ["--prefill-weights=fp32", "--decode-weights=fp32", "--kv=fp16"]


def need_shared(*names):
    """Skips a test, by name, where the reference data is absent."""
    for name in names:
        if not (SHARED / name).exists():
            raise unittest.SkipTest(f"needs {name} of the shared reference data, which is absent here")


def baton(*arguments, endpoint=None, check=True, timeout=120):
    """Runs `baton`; returns its standard output, or the completed process with check=False."""
    environment = dict(os.environ)
    if endpoint:
        environment["BATON_ENDPOINT"] = endpoint
    result = subprocess.run([str(BIN / "baton"), *map(str, arguments)], env=environment, capture_output=True,
                            text=True, timeout=PATIENCE * timeout)
    if check and result.returncode != 0:
        raise AssertionError(f"baton {' '.join(map(str, arguments))[:200]}: status {result.returncode}\n{result.stderr}")
    return result.stdout if check else result


class Cluster:
    """A running cluster: its endpoint, the pids of its programs and their logs."""

    def __init__(self, endpoint, pids, logs):
        self.endpoint = endpoint
        self.pids = pids
        self.logs = pathlib.Path(logs)
        self.killed = set()

    def generate(self, *arguments, check=True):
        out = baton("generate", "--output=json", *arguments, endpoint=self.endpoint, check=check)
        return json.loads(out) if check else out

    def generate_ids(self, ids, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".ids") as file:
            file.write(",".join(map(str, ids)))
            file.flush()
            return self.generate(f"--token-ids=@{file.name}", *arguments)

    def status(self):
        return json.loads(baton("status", "--output=json", endpoint=self.endpoint))

    def log(self, name):
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def kill(self, name, number=signal.SIGKILL):
        if number == signal.SIGKILL:
            self.killed.add(name)
        os.kill(self.pids[name], number)


@contextlib.contextmanager
def cluster(*options):
    """Runs deploy/local with the options; the cluster lives as long as the block, and no program of it may end badly."""
    with tempfile.TemporaryDirectory(prefix="baton-e2e-") as logs, tempfile.TemporaryFile("w+") as complaints:
        tell = "echo \"$BATON_ENDPOINT|$BATON_LOCAL_PIDS\"; cat >/dev/null"
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "deploy/local"), f"--preset={PRESET}", f"--log-dir={logs}", *map(str, options),
             "--", "bash", "-c", tell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True)
        try:
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE * 180)
            line = process.stdout.readline() if ready else ""
            if "|" not in line:
                complaints.seek(0)
                raise AssertionError(f"deploy/local {' '.join(map(str, options))} did not start\n{complaints.read()}")
            endpoint, pids = line.strip().split("|")
            started = Cluster(endpoint, {name: int(pid) for name, pid in (p.split("=") for p in pids.split())}, logs)
            yield started
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
        complaints.seek(0)
        text = complaints.read()
        ended = set(re.findall(r"^deploy/local: (\S+) (?:ended|did not stop)", text, re.MULTILINE))
        if ended - started.killed:
            raise AssertionError(f"programs ended badly: {', '.join(sorted(ended - started.killed))}\n{text}")
