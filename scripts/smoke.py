"""Tries the installed wheel as a stranger would, in another folder.

Run with the Python of an environment that holds the wheel and what it depends on, and nothing else. With
`--embedded` that is also the extra of this name, and the embedded model answers; without, nothing but loopback.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LARGEST_INSTALL = 10_000_000  # bytes of files, bytecode and all
FOR_TESTS = (".runtime.testing.plugin", ".runtime.testing.strategies")
"""They stand on pytest and on Hypothesis, which the core does not bring."""
ANSWER = "Hello from the loopback."


def main() -> None:
    """Run every check; the first that fails ends the process with its reason."""
    if "--embedded" in sys.argv:
        check_embedded()
    else:
        check_core()


def check_embedded() -> None:
    """The embedded model answers where nothing is configured; it is cached where its user's cache is."""
    quiet = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "DV_AGENT_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = execute(folder, {**quiet, "SHOWCALLER_BACKEND": "embedded"}, "ask", "Say hello", seconds=300)
    require(bool(answer.strip()), "the embedded model answered nothing")
    print("smoke: the embedded model answers from the wheel alone")


def check_core() -> None:
    """Without any extra: it imports, is small, and asks an endpoint."""
    modules = import_every_module()
    print(f"smoke: {modules} modules import without any extra")

    size = installed_bytes()
    print(f"smoke: the core install is {size / 1e6:.1f} MB")
    require(size < LARGEST_INSTALL, f"the core install is over {LARGEST_INSTALL / 1e6:.0f} MB")

    with tempfile.TemporaryDirectory() as folder:
        version = run(folder, "--version")
        require(importlib.metadata.version("showcaller") in version, f"--version says {version!r}")
        with loopback_backend() as port:
            url = f"http://127.0.0.1:{port}/v1"
            answer = run(folder, "ask", "Say hello", OPENAI_BASE_URL=url, SHOWCALLER_MODEL="smoke")
        require(ANSWER in answer, f"ask printed {answer!r}")
        report = run(folder, "simulate", "--demo", "--duration", "1m")
        require("all hold" in report, f"simulate printed {report!r}")
    print("smoke: the command line answers and simulates from the wheel alone")


def import_every_module() -> int:
    """Import each module of the package; returns how many there are."""
    package = importlib.import_module("showcaller")
    require(Path(package.__file__ or "").with_name("py.typed").exists(), "py.typed is not in the wheel")
    names = [found.name for found in pkgutil.walk_packages(package.__path__, "showcaller.")]
    for name in names:
        if not name.endswith((".__main__", *FOR_TESTS)):
            importlib.import_module(name)
    return len(names)


def installed_bytes() -> int:
    """The size of what is installed."""
    files = Path(sysconfig.get_path("purelib")).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def run(folder: str, *arguments: str, **environment: str) -> str:
    """Run `python -m showcaller` in an empty home; returns what it printed."""
    home = {"HOME": folder, "PATH": os.defpath, "OPENAI_API_KEY": "smoke", **environment}
    return execute(folder, home, *arguments, seconds=60)


def execute(folder: str, environment: dict[str, str], *arguments: str, seconds: float) -> str:
    """Run `python -m showcaller` in a folder and an environment; returns what it printed."""
    completed = subprocess.run(
        [sys.executable, "-m", "showcaller", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    said = completed.stdout + completed.stderr
    require(completed.returncode == 0, f"showcaller {arguments} ended with {completed.returncode}:\n{said}")
    return completed.stdout


@contextmanager
def loopback_backend() -> Iterator[int]:
    """Serve an OpenAI-compatible endpoint with one fixed answer on loopback; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), FixedAnswer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


class FixedAnswer(BaseHTTPRequestHandler):
    """Answers a chat completion, streamed when that is asked for."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Send the fixed answer in the form that was asked for."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        head = {"id": "smoke", "created": 0, "model": request["model"]}
        if request.get("stream"):
            delta = {"role": "assistant", "content": ANSWER}
            chunks = [
                {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]},
                {
                    **head,
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                },
            ]
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
            self.reply("text/event-stream", body)
        else:
            message = {"role": "assistant", "content": ANSWER}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}
            body = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            self.reply("application/json", body)

    def reply(self, kind: str, body: str) -> None:
        """Send a whole answer of that content type."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def require(condition: bool, message: str) -> None:
    """End the process with the message unless the condition holds."""
    if not condition:
        sys.exit(f"smoke: {message}")


if __name__ == "__main__":
    main()
