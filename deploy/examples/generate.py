#!/usr/bin/env python3
"""A Baton client in Python: streams one completion.

Needs `pip install grpcio-tools`; makes the stubs from proto/ in a temporary folder.
  python deploy/examples/generate.py --endpoint 127.0.0.1:8000 --prompt "Once upon a time"
"""

import argparse
import os
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def make_stubs(folder):
    """Compiles the two protos a client needs and imports them."""
    protos = ["baton/v1/kv.proto", "baton/v1/inference.proto"]
    status = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}", *protos])
    if status != 0:
        sys.exit(f"protoc ended with status {status}")
    sys.path.insert(0, folder)
    from baton.v1 import inference_pb2, inference_pb2_grpc
    return inference_pb2, inference_pb2_grpc


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", default=os.environ.get("BATON_ENDPOINT", "127.0.0.1:8000"))
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--max-tokens", type=int, default=32)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        pb, pb_grpc = make_stubs(folder)
        with grpc.insecure_channel(options.endpoint) as channel:
            request = pb.GenerateRequest(text=options.prompt, max_tokens=options.max_tokens, temperature=0)
            try:
                for response in pb_grpc.InferenceServiceStub(channel).Generate(request, timeout=60):
                    if response.HasField("chunk"):
                        print(response.chunk.text, end="", flush=True)
                    else:
                        done = response.complete
                        print(f"\n[{done.usage.completion_tokens} tokens, {done.workers.prefill} -> {done.workers.decode}, "
                              f"{done.kv.bytes_wire} bytes of KV, TTFT {done.timing.ttft_ms:.1f} ms]")
            except grpc.RpcError as error:
                sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
