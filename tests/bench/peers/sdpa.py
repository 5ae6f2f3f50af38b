#!/usr/bin/env python3
"""Times PyTorch's scaled_dot_product_attention (cuDNN, FlashAttention) as tests/bench/kernels_gpu times ours.

Causal, batch 1, contiguous keys and values: CUDA graphs of at least 8 calls with operands that rotate over more than 200 MB,
3 replays, then the median of --replays. TFLOPS count half of the square. Needs a GPU and torch.
"""

import argparse
import json
import math
import statistics
import sys

COLD_BYTES = 200e6


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="2048,8192", help="tokens, comma separated")
    parser.add_argument("--heads", type=int, default=32, help="query heads")
    parser.add_argument("--kv-heads", default="8,32", help="KV heads, comma separated")
    parser.add_argument("--head-dims", default="128,64", help="head dimensions, comma separated")
    parser.add_argument("--types", default="float16", help="float16, bfloat16, comma separated")
    parser.add_argument("--backends", default="cudnn,flash", help="cudnn, flash, comma separated")
    parser.add_argument("--replays", type=int, default=21)
    parser.add_argument("--json", help="also write the rows to this file")
    return parser.parse_args()


def time_us(torch, call, copies, replays):
    calls = max(8, copies)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(3):
            call(i % copies)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        kept = [call(i % copies) for i in range(calls)]  # results stay until the capture ends
    times = []
    for i in range(replays + 3):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        stop.record()
        stop.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(stop) * 1e3 / calls)
    del kept
    return statistics.median(times)


def main():
    args = parse()
    try:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError as error:
        sys.exit(f"torch: {error}; expected PyTorch 2.5 or later with CUDA")
    if not torch.cuda.is_available():
        sys.exit("torch: no CUDA device")
    backends = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
    print(f"device: {torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    print(f"{'backend':<8} {'type':<9} {'heads':>7} {'dim':>4} {'length':>6} {'us':>9} {'TFLOPS':>7}")
    rows = []
    for length in map(int, args.lengths.split(",")):
        for kv_heads in map(int, args.kv_heads.split(",")):
            for dim in map(int, args.head_dims.split(",")):
                for name in args.types.split(","):
                    dtype = getattr(torch, name)
                    size = 2 * dim * length * (2 * args.heads + 2 * kv_heads)
                    copies = max(1, math.ceil(COLD_BYTES / size))
                    # [batch, heads, length, dim] views of [batch, length, heads, dim], as a projection writes them.
                    make = lambda heads: torch.randn(1, length, heads, dim, device="cuda", dtype=dtype).transpose(1, 2)
                    operands = [(make(args.heads), make(kv_heads), make(kv_heads)) for _ in range(copies)]

                    def call(i):
                        q, k, v = operands[i]
                        return torch.nn.functional.scaled_dot_product_attention(
                            q, k, v, is_causal=True, enable_gqa=kv_heads != args.heads)

                    for backend in args.backends.split(","):
                        row = {"backend": backend, "type": name, "heads": args.heads, "kv_heads": kv_heads,
                               "head_dim": dim, "length": length}
                        try:
                            with torch.no_grad(), sdpa_kernel(backends[backend]):
                                row["us"] = time_us(torch, call, copies, args.replays)
                            row["tflops"] = 2.0 * length * length * args.heads * dim / row["us"] / 1e6
                            shown = f"{row['us']:>9.1f} {row['tflops']:>7.0f}"
                        except RuntimeError as error:
                            row["error"] = str(error).splitlines()[0]
                            shown = row["error"]
                        rows.append(row)
                        print(f"{backend:<8} {name:<9} {args.heads:>3}/{kv_heads:<3} {dim:>4} {length:>6} {shown}", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
