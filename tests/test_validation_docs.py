"""docs/validation.md: its example is the file as it is, and runs; its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from showcaller import ResponseTransform, validators
from tests.examples import run
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
        done = run(EXAMPLE, server, tmp_path)
    assert (done.returncode, done.stdout) == (0, "3.5 after 3 attempts\n"), done.stderr
