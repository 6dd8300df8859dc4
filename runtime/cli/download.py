"""Shows how far the download of a model has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from showcaller.runtime.cli.output import SIGNS, is_rich, megabytes

if TYPE_CHECKING:
    from rich.progress import TaskID

    from showcaller.runtime.transports.model_store import Progress

LINE_SECONDS = 2.0
"""How often a stream that is no terminal gets a line."""


@contextlib.contextmanager
def shown_on(stream: TextIO) -> Iterator[Progress]:
    """A Progress that writes to the stream, for the time of the block."""
    if not is_rich(stream):
        yield LineProgress(stream)
        return
    progress = BarProgress(stream)
    try:
        yield progress
    finally:
        progress.close()


def _beginning(what: str, total: int | None) -> str:
    return f"Fetching {what}" if total is None else f"Fetching {what}, {megabytes(total)}"


def _end(count: int, seconds: float, sha256: str) -> str:
    return f"  {SIGNS['ok']} {megabytes(count)} in {seconds:.1f} s, sha256 {sha256[:32]}…"


class LineProgress:
    """A Progress in lines of text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = 0
        self._done = 0
        self._began = self._told = 0.0

    def started(self, what: str, total_bytes: int | None) -> None:
        """A step begins."""
        self._total, self._done = total_bytes or 0, 0
        self._began = self._told = time.monotonic()
        self._say(_beginning(what, total_bytes))

    def advanced(self, count: int, /) -> None:
        """So many further bytes are done."""
        self._done += count
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            speed = self._done / (now - self._began)
            left = f", {(self._total - self._done) / speed:.0f} s left" if self._total > self._done else ""
            self._say(
                f"  {megabytes(self._done)} of {megabytes(self._total)}, {megabytes(int(speed))}/s{left}"
            )

    def finished(self, what: str, sha256: str) -> None:
        """The step is done."""
        self._say(_end(self._done, time.monotonic() - self._began, sha256))

    def _say(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class BarProgress:
    """A Progress as a bar; close it, or the cursor stays hidden."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._step: TaskID | None = None
        self._done = 0
        self._began = 0.0

    def started(self, what: str, total_bytes: int | None) -> None:
        """A step begins."""
        self._done, self._began = 0, time.monotonic()
        self._console.print(_beginning(what, total_bytes), markup=False)
        self._step = self._progress.add_task(what, total=total_bytes)
        self._progress.start()

    def advanced(self, count: int, /) -> None:
        """So many further bytes are done."""
        self._done += count
        if self._step is not None:
            self._progress.advance(self._step, count)

    def finished(self, what: str, sha256: str) -> None:
        """The step is done."""
        self.close()
        line = _end(self._done, time.monotonic() - self._began, sha256)
        self._console.print(line, style="green", markup=False)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
        if self._step is not None:
            self._progress.remove_task(self._step)
            self._step = None
