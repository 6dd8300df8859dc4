"""The library is silent by default, and what it says holds no secret."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from showcaller.actors import log
from showcaller.actors.secrets import Secret
from showcaller.runtime.logging import LOGGERS, RedactingFilter, set_up_logging

CANARY = "canary-log-55e1d0"
FOLDERS = [Path(sys.modules[name].__path__[0]) for name in ("showcaller.actors", "showcaller.runtime")]


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Everything that a host with a handler on the root logger would read."""
    set_up_logging()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("name", LOGGERS)
def test_no_logger_of_the_library_says_a_known_secret(name: str, heard: io.StringIO) -> None:
    """In the message, in its arguments, in the exception, or in the stack."""
    Secret(CANARY)
    logger = logging.getLogger(name)
    logger.info(f"the key {CANARY}")  # noqa: G004
    logger.info("the key %s and %r", CANARY, {"key": CANARY})
    try:
        raise ValueError(f"refused: {CANARY}")
    except ValueError:
        logger.exception("failed", stack_info=True)
    text = heard.getvalue()
    assert CANARY not in text
    assert text.count("[redacted]") >= 4
    assert "ValueError: refused: [redacted]" in text
    assert "Stack (most recent call last)" in text


def test_a_record_keeps_nothing_that_a_handler_could_format_again(heard: io.StringIO) -> None:
    """A handler that prints locals of the traceback finds no traceback."""
    record = logging.LogRecord("showcaller", logging.ERROR, __file__, 1, "%s", (CANARY,), None)
    try:
        raise ValueError(CANARY)
    except ValueError:
        record.exc_info = sys.exc_info()
    Secret(CANARY)
    assert RedactingFilter().filter(record)
    assert (record.args, record.exc_info) == ((), None)
    assert CANARY not in str(record.__dict__)


def test_arguments_that_do_not_fit_lose_no_record(heard: io.StringIO) -> None:
    """A wrong log call is a wrong text and nothing more."""
    logging.getLogger("showcaller").warning("one %s and %d", "x")  # noqa: PLE1206
    assert "one %s and %d (with arguments that do not fit)" in heard.getvalue()


def test_setting_up_twice_changes_nothing() -> None:
    """Two runtimes in one process."""
    set_up_logging()
    before = [
        (list(logging.getLogger(name).filters), list(logging.getLogger(name).handlers)) for name in LOGGERS
    ]
    set_up_logging()
    after = [
        (list(logging.getLogger(name).filters), list(logging.getLogger(name).handlers)) for name in LOGGERS
    ]
    assert after == before
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("showcaller").handlers)


def test_every_logger_that_the_source_names_is_filtered() -> None:
    """A filter on a parent does not see its children, so a new logger must be in the table."""
    named = set()
    for folder in FOLDERS:
        for path in folder.rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            named |= set(re.findall(r"getLogger\(\s*\"(showcaller[\w.]*)\"", source))
            named |= set(re.findall(r"LogEvent\(\s*\"([\w.]+)\"", source))
    assert named
    assert named <= set(LOGGERS)


EVENTS = {name: value for name, value in vars(log).items() if isinstance(value, log.LogEvent)}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_said_as_it_is_written_in_the_table(name: str, heard: io.StringIO) -> None:
    """Its logger, its level, and as many arguments as its words have places."""
    event = EVENTS[name]
    places = re.findall(r"%[.\d]*([sdf])", event.template)
    event.say(*("x" if place == "s" else 1 for place in places), error=ValueError("why"))
    text = heard.getvalue()
    assert text.startswith(f"{event.logger} {logging.getLevelName(event.level)} ")
    assert "do not fit" not in text
    assert "ValueError: why" in text
