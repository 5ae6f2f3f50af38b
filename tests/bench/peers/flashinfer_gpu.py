#!/usr/bin/env python3
"""Times PyPI's flashinfer-python on decode attention (32 query heads, 8 KV heads, head size 128) with the method of kernels_gpu."""

import argparse
import json

import gpu_timing

HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
SHAPES = ((64, 4096), (16, 4096), (256, 1024), (1, 32768))
BACKENDS = ("fa2", "xqa")


class Cache:
    """Pages in random order: [pages, 2, page, KV_HEADS, HEAD_DIM], one copy a rotation."""

    def __init__(self, torch, batch, context, page, dtype):
        per_sequence = context // page
        pages = batch * per_sequence
        shape = (pages, 2, page, KV_HEADS, HEAD_DIM)
        self.bytes = batch * context * KV_HEADS * HEAD_DIM * 2 * dtype.itemsize
        self.copies = min(gpu_timing.copies_for(self.bytes), 8)
        self.data = [torch.randn(shape, device="cuda", dtype=torch.float16).to(dtype) for _ in range(self.copies)]
        self.order = torch.randperm(pages, device="cuda", dtype=torch.int32)
        self.indptr = torch.arange(0, pages + 1, per_sequence, device="cuda", dtype=torch.int32)
        self.last = torch.full((batch,), page, device="cuda", dtype=torch.int32)
        self.table = self.order.view(batch, per_sequence)
        self.lengths = torch.full((batch,), context, device="cuda", dtype=torch.int32)
        self.page = page


def expected_of(torch, q, cache, sequence):
    pages = cache.data[0][cache.table[sequence].long()].float()
    k = pages[:, 0].reshape(-1, KV_HEADS, HEAD_DIM).repeat_interleave(HEADS // KV_HEADS, 1)
    v = pages[:, 1].reshape(-1, KV_HEADS, HEAD_DIM).repeat_interleave(HEADS // KV_HEADS, 1)
    scores = torch.einsum("hd,thd->ht", q[sequence].float(), k) / HEAD_DIM**0.5
    return torch.einsum("ht,thd->hd", scores.softmax(-1), v)


def runner(flashinfer, torch, backend, q, cache, context, workspace):
    if backend == "xqa":
        return lambda i: flashinfer.decode.xqa_batch_decode_with_kv_cache(
            q, cache.data[i], workspace, cache.table, cache.lengths, context, bmm1_scale=HEAD_DIM**-0.5, kv_layout="NHD")
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
        workspace, "NHD", use_cuda_graph=True, use_tensor_cores=True, paged_kv_indptr_buffer=cache.indptr,
        paged_kv_indices_buffer=cache.order, paged_kv_last_page_len_buffer=cache.last, backend=backend)
    wrapper.plan(cache.indptr.cpu(), cache.order, cache.last, HEADS, KV_HEADS, HEAD_DIM, cache.page, q_data_type=q.dtype,
                 kv_data_type=cache.data[0].dtype)
    return lambda i: wrapper.run(q, cache.data[i])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=int, default=16)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="of " + ", ".join(BACKENDS))
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    flashinfer = gpu_timing.require("flashinfer-python", "0.6.13", "flashinfer")
    import torch

    copy = gpu_timing.copy_bandwidth()
    print(f"device: {torch.cuda.get_device_name()}, copy {copy / 1e9:.0f} GB/s")
    print(f"{'batch':>5} {'context':>7} {'KV':>5} {'backend':8} {'us':>9} {'GB/s':>6} {'% of copy':>9} {'error':>9}")
    rows = []
    for batch, context in SHAPES:
        for kv, dtype in (("fp16", torch.float16), ("fp8", torch.float8_e4m3fn)):
            cache = Cache(torch, batch, context, args.page, dtype)
            q = torch.randn(batch, HEADS, HEAD_DIM, device="cuda", dtype=torch.float16)
            for backend in args.backends.split(","):
                workspace = torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")
                row = dict(batch=batch, context=context, kv=kv, backend=backend)
                try:
                    call = runner(flashinfer, torch, backend, q, cache, context, workspace)
                    us = gpu_timing.graph_us(call, cache.copies)
                    error = gpu_timing.norm_error(call(0)[0], expected_of(torch, q, cache, 0))
                except Exception as failure:  # a peer's own refusal: reported as a row, the others still run
                    print(f"{batch:5} {context:7} {kv:>5} {backend:8} failed: {failure}", flush=True)
                    rows.append(row | dict(failed=str(failure)))
                    continue
                rate = cache.bytes / us * 1e6
                print(f"{batch:5} {context:7} {kv:>5} {backend:8} {us:9.1f} {rate / 1e9:6.0f} {100 * rate / copy:9.0f} {error:9.1e}", flush=True)
                rows.append(row | dict(us=us, copy_share=rate / copy, error=error))
            del cache
            torch.cuda.empty_cache()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(device=torch.cuda.get_device_name(), copy_bytes_per_second=copy, rows=rows), file, indent=1)


if __name__ == "__main__":
    main()
