"""docs/overload.md: the example of a queue is the file as it is, and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.runtime.transports.fault_server import FaultServer, Peer, completion, reply

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "request_queue.py"
PAGE = (ROOT / "docs" / "overload.md").read_text(encoding="utf-8")


def test_the_page_shows_the_example_as_it_is() -> None:
    """Whoever copies from the page gets what was run."""
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in PAGE


def test_the_example_says_what_became_of_each(tmp_path: Path) -> None:
    """One that is refused is no matter of the others, and the program ends when all have left."""

    def script(peer: Peer) -> None:
        answer = reply(400, b"no") if b"Thank you" in peer.request else reply(200, completion("Topic"))
        answer(peer)

    with FaultServer() as server:
        server.play(script)
        environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            cwd=tmp_path,
            env={**environ, "OPENAI_BASE_URL": server.url, "SHOWCALLER_MODEL": "m"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert sorted(line == "Topic" for line in lines) == [False, True, True]
    assert len(server.requests) == 3
