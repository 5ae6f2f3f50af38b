"""The method of tests/bench/kernels_gpu for peers that are called from Python: CUDA graphs, operands cold in L2, medians."""

import importlib
import importlib.metadata
import math
import statistics
import sys

COLD_BYTES = 200e6
MIN_CALLS = 8
WARM_REPLAYS = 3
LAYERS = {"qkv": (6144, 4096), "o": (4096, 4096), "gate_up": (28672, 4096), "down": (4096, 14336)}


def require(package, version, module):
    """The module, or an explanation on stderr and exit code 2. Another version is measured with a warning."""
    try:
        import torch

        loaded = importlib.import_module(module)
    except ImportError as error:
        print(f"not measured: {package} {version} is not installed here ({error}); pip install {package}=={version}", file=sys.stderr)
        raise SystemExit(2) from None
    if not torch.cuda.is_available():
        print("not measured: no GPU", file=sys.stderr)
        raise SystemExit(2)
    found = importlib.metadata.version(package)
    if found != version:
        print(f"warning: {package} {found}, figures elsewhere are of {version}", file=sys.stderr)
    return loaded


def copies_for(bytes_per_copy):
    return max(1, math.ceil(COLD_BYTES / bytes_per_copy))


def graph_us(call, copies, replays=21):
    """Microseconds of one call(copy): a graph of max(8, copies) calls over all copies, median of replays."""
    import torch

    calls = max(MIN_CALLS, copies)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for copy in range(min(copies, 2)):  # compiles and loads
            call(copy)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(calls):
            call(i % copies)
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for i in range(WARM_REPLAYS + replays):
        start.record()
        graph.replay()
        stop.record()
        torch.cuda.synchronize()
        if i >= WARM_REPLAYS:
            times.append(1e3 * start.elapsed_time(stop) / calls)
    return statistics.median(times)


def copy_bandwidth():
    """Bytes read plus written per second by a device copy of 1 GiB."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2.0 * source.numel() / (graph_us(lambda _: target.copy_(source), 1) * 1e-6)


def cublas_fp16_us(n, k, m):
    """torch's own FP16 product at the same shape: near the baseline of kernels_gpu, which also tries cuBLASLt's algorithms."""
    import torch

    copies = copies_for(2 * n * k)
    weights = [torch.randn(n, k, dtype=torch.float16, device="cuda") * 0.02 for _ in range(copies)]
    x = torch.randn(m, k, dtype=torch.float16, device="cuda")
    out = torch.empty(m, n, dtype=torch.float16, device="cuda")
    return graph_us(lambda i: torch.matmul(x, weights[i].t(), out=out), copies)


def norm_error(actual, expected):
    return ((actual.float() - expected.float()).norm() / expected.float().norm()).item()
