"""An nginx of our own on a free loopback port that answers every request with the fixed completion.

It runs in the foreground out of a temporary folder, needs no privileges, and ends with the block.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.completion import COMPLETION

UNPACKED = Path(__file__).parents[1] / "build" / "nginx" / "usr" / "sbin" / "nginx"
START_SECONDS = 10.0

CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location / {{ return 200 '{completion}'; }}
    }}
}}
"""


@contextmanager
def nginx() -> Iterator[int]:
    """Serve the fixed completion; yields the port.

    Raises:
        RuntimeError: there is no nginx, or it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="showcaller-nginx-") as folder:
        port = _free_port()
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(CONFIGURATION.format(port=port, completion=COMPLETION), encoding="utf-8")
        command = [_program(), "-e", "stderr", "-p", folder, "-c", str(configuration)]
        server = subprocess.Popen(command)
        try:
            _wait_until_it_listens(server, port)
            yield port
        finally:
            server.terminate()
            try:
                server.wait(5.0)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _program() -> str:
    for name in ("nginx", "/usr/sbin/nginx", str(UNPACKED)):
        found = shutil.which(name)
        if found is not None:
            return found
    raise RuntimeError("there is no nginx to measure against; `make bench` gets one")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"nginx did not listen within {START_SECONDS} s (exit code {server.poll()})")
