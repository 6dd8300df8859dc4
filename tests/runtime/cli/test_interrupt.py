"""Ctrl-C: put off where Python's own library cannot stand it, and never for long."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FrameType

import pytest

from showcaller.runtime.cli.interrupt import INTERRUPTED, Interrupt

PATIENCE = 20.0


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that interrupts itself."""
    begin = """
        import os, signal, sys, threading, time
        from showcaller.runtime.cli.interrupt import Interrupt

        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)

        Interrupt().install()
    """
    text = textwrap.dedent(begin) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_an_import_is_finished_first(tmp_path: Path) -> None:
    """A module that stays half made breaks whatever needs it during the stop."""
    Path(tmp_path, "slow.py").write_text("import __main__\n__main__.interrupt()\nready = True\n")
    done = run(
        """
        try:
            import slow
            time.sleep(10)
        except KeyboardInterrupt:
            sys.exit(f"ready: {sys.modules['slow'].ready}")
        """,
        tmp_path,
    )
    assert done.stderr == "ready: True\n"


def test_the_start_of_a_thread_is_finished_first(tmp_path: Path) -> None:
    """Its lock would stay taken, or be released twice."""
    done = run(
        """
        class Started(threading.Event):
            whole = False

            def wait(self, timeout=None):
                interrupt()
                waited = super().wait(timeout)
                Started.whole = True
                return waited

        thread = threading.Thread(target=lambda: None)
        thread._started = Started()
        try:
            thread.start()
            time.sleep(10)
        except KeyboardInterrupt:
            sys.exit(f"whole: {Started.whole}")
        """,
        tmp_path,
    )
    assert done.stderr == "whole: True\n"


def test_a_long_wait_for_a_thread_is_interrupted(tmp_path: Path) -> None:
    """Put off is not given up."""
    done = run(
        """
        threading.Timer(0.05, interrupt).start()
        try:
            threading.Event().wait(15)
        except KeyboardInterrupt:
            sys.exit("interrupted")
        """,
        tmp_path,
    )
    assert done.stderr == "interrupted\n"


def test_elsewhere_it_strikes_at_once(tmp_path: Path) -> None:
    """And the second leaves without an orderly stop."""
    done = run(
        """
        try:
            interrupt()
            print("went on")
        except KeyboardInterrupt:
            print("stops", flush=True)
            interrupt()
            print("went on")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (INTERRUPTED, "stops\n")


def test_a_handler_of_somebody_else_stays(tmp_path: Path) -> None:
    """A shell that ignores SIGINT for its background jobs means it."""
    done = run(
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Interrupt().install()
        interrupt()
        print("went on")
        """,
        tmp_path,
    )
    assert done.stdout == "went on\n"


def test_without_an_alarm_it_strikes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems that have none."""

    class Frame:
        f_code = test_without_an_alarm_it_strikes_at_once.__code__.replace(
            co_filename="<frozen importlib._bootstrap>"
        )
        f_back: FrameType | None = None

    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(KeyboardInterrupt):
        Interrupt().strike(signal.SIGINT, Frame())  # type: ignore[arg-type]
