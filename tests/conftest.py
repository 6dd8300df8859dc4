"""Settings for all tests: no Hypothesis deadline, because a busy machine is no bug; and interrupts are heard.

What the tests of planted bugs print, how many seeds or schedules each took, is shown at the end.

A shell that starts the tests in the background lets them ignore SIGINT, and so would every program they start.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

pytest_plugins = ["pytester"]

signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("showcaller", deadline=None, print_blob=True)
settings.load_profile("showcaller")

_planted: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what the tests of planted bugs say of how long they looked."""
    if report.when == "call" and "planted" in report.nodeid:
        _planted.extend(line for line in report.capstdout.splitlines() if ": found " in line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it, also when all have passed."""
    if _planted:
        terminalreporter.section("planted bugs")
        for line in _planted:
            terminalreporter.write_line(line)
