#!/usr/bin/env python3
"""Times PyPI's humming-kernels (W4A16 and W8A8 FP8) on the products of Llama-3-8B with the method of kernels_gpu."""

import argparse
import json

import gpu_timing

SCHEMES = {
    "w4a16": dict(weight={"dtype": "uint4", "group_size": 128}, activation=None, bytes_per_weight=0.5 + 2 / 128),
    "w8a8_fp8": dict(weight={"dtype": "float8e4m3", "group_size": 0}, activation={"dtype": "float8e4m3"}, bytes_per_weight=1.0),
}


def layers_of(humming_layer, torch, scheme, n, k, copies):
    """`copies` layers of one shape with random weights."""
    layers = []
    for _ in range(copies):
        layer = humming_layer(shape_n=n, shape_k=k, weight_config=dict(scheme["weight"]),
                              input_config=scheme["activation"] and dict(scheme["activation"]), torch_dtype=torch.float16).cuda()
        layer.load_from_unquantized(torch.randn(n, k, dtype=torch.float16, device="cuda") * 0.02)
        layer.transform()
        layers.append(layer)
    return layers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", default="1,16,64,128,256,2048,8192")
    parser.add_argument("--layers", default=",".join(gpu_timing.LAYERS), help="of " + ", ".join(gpu_timing.LAYERS))
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="of " + ", ".join(SCHEMES))
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    humming = gpu_timing.require("humming-kernels", "0.1.19", "humming.layer")
    import torch

    print(f"device: {torch.cuda.get_device_name()}; activation quantization is outside the w8a8 times")
    print(f"{'layer':8} {'scheme':10} {'M':>6} {'us':>9} {'cuBLAS fp16':>12} {'ratio':>6} {'error':>9}")
    rows = []
    for name in args.layers.split(","):
        n, k = gpu_timing.LAYERS[name]
        for scheme_name in args.schemes.split(","):
            scheme = SCHEMES[scheme_name]
            copies = gpu_timing.copies_for(scheme["bytes_per_weight"] * n * k)
            layers = layers_of(humming.HummingLayer, torch, scheme, n, k, copies)
            identity = torch.eye(k, dtype=torch.float16, device="cuda")
            weight = layers[0](identity).float()  # [K, N]: what the layer computes with
            for m in map(int, args.tokens.split(",")):
                x = torch.randn(m, k, dtype=torch.float16, device="cuda")
                scale = None
                if scheme["activation"]:
                    quantized = x.float().abs().amax(1, keepdim=True) / 448
                    x, scale = (x.float() / quantized).to(torch.float8_e4m3fn), quantized
                out = torch.full((m, n), float("nan"), dtype=torch.float16, device="cuda")
                us = gpu_timing.graph_us(lambda i: layers[i](x, outputs=out, input_scale=scale), copies)
                layers[0](x, outputs=out, input_scale=scale)
                expected = (x.float() if scale is None else x.float() * scale) @ weight
                error = gpu_timing.norm_error(out, expected)
                base = gpu_timing.cublas_fp16_us(n, k, m)
                print(f"{name:8} {scheme_name:10} {m:6} {us:9.2f} {base:12.2f} {base / us:6.2f} {error:9.1e}", flush=True)
                rows.append(dict(layer=name, scheme=scheme_name, m=m, us=us, cublas_fp16_us=base, error=error))
            del layers, weight
            torch.cuda.empty_cache()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(device=torch.cuda.get_device_name(), rows=rows), file, indent=1)


if __name__ == "__main__":
    main()
