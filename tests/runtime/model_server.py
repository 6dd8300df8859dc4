"""A real OpenAI-compatible server with a real model, in a process that a test may kill.

Run as a program: `python model_server.py MODEL.gguf`; it prints its address, and ends when its standard
input does.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Serve."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = 2048
    params.n_parallel = 2
    params.port = 0
    params.cpuparams.n_threads = 1
    params.api_keys = ["the-key-of-the-tests"]
    params.model_alias = {"smollm2"}
    params.ui = False
    server = Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main()
