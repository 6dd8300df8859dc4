"""docs/validation.md: its example is the file as it is, and runs; its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from showcaller import ResponseTransform, validators
from tests.runtime.transports.fault_server import FaultServer, completion, reply

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "validation.py"
PAGE = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")


def rows(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    table = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"(?m)^\| `(\w+)", table))


def test_the_page_shows_the_example_as_it_is() -> None:
    """Whoever copies from the page gets what was run."""
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in PAGE


def test_the_page_names_every_transform_and_every_validator() -> None:
    """And no other."""
    assert rows("Transforms") == {one.value for one in ResponseTransform}
    assert rows("Validators") == set(validators.__all__)


def test_the_example_asks_until_the_answer_is_a_price(tmp_path: Path) -> None:
    """Prose is refused by the transform, a fantasy by the caller's own validator."""
    with FaultServer() as server:
        server.play(
            reply(200, completion("About three dollars.")),
            reply(200, completion('It is {"price": 3000}.')),
            reply(200, completion('```json\n{"price": 3.5}\n```')),
        )
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
    assert (done.returncode, done.stdout) == (0, "3.5 after 3 attempts\n"), done.stderr
