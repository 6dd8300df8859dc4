"""docs/batching.md: its example is the file as it is, and runs; its table is what the call takes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from showcaller import Runtime
from tests.examples import run
from tests.runtime.transports.fault_server import FaultServer, Peer, completion, reply

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "batching.py"
PAGE = (ROOT / "docs" / "batching.md").read_text(encoding="utf-8")


def test_the_page_shows_the_example_as_it_is() -> None:
    """Whoever copies from the page gets what was run."""
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in PAGE


def test_the_table_names_every_argument_and_its_default() -> None:
    """And no other."""
    rows = re.findall(r"(?m)^\| `(\w+)` \|.*\| ([\d.,]+) \|$", PAGE)
    parameters = inspect.signature(Runtime.batcher).parameters
    expected = [
        (name, one.default) for name, one in parameters.items() if one.default is not inspect.Parameter.empty
    ]
    assert [(name, float(value.replace(",", ""))) for name, value in rows] == expected


def test_the_example_says_what_became_of_each(tmp_path: Path) -> None:
    """One that is refused is no matter of the others."""

    def script(peer: Peer) -> None:
        answer = reply(400, b"no") if b"Please cancel" in peer.request else reply(200, completion("Topic"))
        answer(peer)

    with FaultServer() as server:
        server.play(script)
        done = run(EXAMPLE, server, tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 5
    assert [line.endswith(": Topic") for line in lines] == [True, True, True, False, True]
    assert len(server.requests) == 5
