"""Measurements of two programs in turn on a machine that may have other work: what counts, and what is reported."""

import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Run:
    """One invocation; `parse` turns its stdout into {column: tokens per second}."""

    name: str
    command: list[str]
    parse: Callable[[str], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Sample:
    speeds: dict[str, float]  # tokens per second by column
    other_load: float  # CPUs that other processes kept busy meanwhile
    steal: float  # share of the time that the hypervisor took


def cpu_seconds():
    """Busy and stolen CPU seconds of the whole machine since its start."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(x) for x in file.readline().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, steal / tick


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(run):
    busy, stolen = cpu_seconds()
    children, start = children_seconds(), time.monotonic()
    result = subprocess.run(run.command, capture_output=True, text=True, check=False)
    wall = time.monotonic() - start
    if result.returncode != 0:
        sys.exit(f"{run.name}: exit status {result.returncode}\n{' '.join(run.command)}\n{result.stderr[-2000:]}")
    busy_after, stolen_after = cpu_seconds()
    other = max(0.0, busy_after - busy - (children_seconds() - children)) / wall
    return Sample(run.parse(result.stdout), other, (stolen_after - stolen) / wall / os.cpu_count())


def measure_quietly(run, limit, attempts):
    """The first sample under `limit`, or else the quietest of `attempts`."""
    best = None
    for _ in range(attempts):
        sample = measure(run)
        if best is None or sample.other_load < best.other_load:
            best = sample
        if best.other_load < limit:
            break
    return best


def collect(runs, rounds, limit, attempts):
    """All runs in turn, `rounds` times; {run name: [Sample]}."""
    samples = {run.name: [] for run in runs}
    for index in range(rounds):
        for run in runs:
            sample = measure_quietly(run, limit, attempts)
            samples[run.name].append(sample)
            shown = "  ".join(f"{column} {speed:.0f}" for column, speed in sample.speeds.items())
            noise = f"  NOISY: other load {sample.other_load:.2f} CPU" if sample.other_load >= limit else ""
            print(f"round {index + 1}/{rounds}  {run.name:28} {shown}{noise}", file=sys.stderr, flush=True)
    return samples


def summarize(samples, limit):
    """{run: {column: {median, min, max, quiet, noisy}}}; noisy samples count only where there is no other."""
    summary = {}
    for name, taken in samples.items():
        quiet = [s for s in taken if s.other_load < limit]
        columns = {}
        for column in taken[0].speeds:
            speeds = [s.speeds[column] for s in quiet or taken]
            columns[column] = {
                "median": statistics.median(speeds),
                "min": min(speeds),
                "max": max(speeds),
                "quiet": len(quiet),
                "noisy": len(taken) - len(quiet),
            }
        summary[name] = columns
    return summary
