"""Where reports are written: Rich on a terminal, plain text without an escape code anywhere else.

Rich is an extra: without it a terminal gets the plain text too.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

Mark: TypeAlias = Literal["ok", "warning", "failure", "aside"]
Row: TypeAlias = Sequence[str]

SIGNS: dict[Mark, str] = {"ok": "✓", "warning": "!", "failure": "✗", "aside": "·"}
_STYLES: dict[str, str] = {"✓": "bold green", "!": "bold yellow", "✗": "bold red", "·": "dim"}

_CONTROLS = {code: None for code in [*range(32), *range(0x7F, 0xA0)] if chr(code) not in "\n\t"}


class Screen:
    """Plain text; RichScreen is the same on a terminal.

    Attributes:
        live: may what was written be drawn over?
    """

    live = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.line()
        self.line(text)

    def line(self, text: str = "") -> None:
        """One line."""
        self.write(f"{text}\n")

    def aside(self, text: str) -> None:
        """A line that matters less."""
        self.line(text)

    def rows(self, rows: Iterable[Row]) -> None:
        """Aligned columns, the last of which may be long; a sign in the first one gets its colour."""
        table = [tuple(row) for row in rows]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        for row in table:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.line(f"  {'  '.join(padded)}".rstrip())

    def write(self, text: str) -> None:
        """Text as it comes, without a line's end."""
        self._stream.write(text)
        self._stream.flush()

    @property
    def width(self) -> int | None:
        """Columns, or None where lines may have any length."""
        return None


class RichScreen(Screen):
    """A terminal."""

    live = True

    def __init__(self, stream: TextIO, *, no_color: bool) -> None:
        from rich.console import Console

        super().__init__(stream)
        self.console: Console = Console(file=stream, highlight=False, no_color=no_color or None)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.line()
        self._print(text, "bold")

    def line(self, text: str = "") -> None:
        """One line."""
        self._print(text)

    def aside(self, text: str) -> None:
        """A line that matters less."""
        self._print(text, "dim")

    def rows(self, rows: Iterable[Row]) -> None:
        """Aligned columns, the last of which is wrapped in its own place."""
        from rich.table import Table

        table: Table | None = None
        for row in rows:
            if table is None:
                table = Table.grid(padding=(0, 2), pad_edge=False)
                for number in range(len(row)):
                    table.add_column(overflow="fold", no_wrap=number < len(row) - 1)
            table.add_row(*[self._text(cell, _STYLES.get(cell, "")) for cell in row])
        if table is not None:
            self.show(table)

    @property
    def width(self) -> int | None:
        """Columns of the terminal, now."""
        return self.console.width

    def show(self, what: RenderableType) -> None:
        """Anything that Rich can draw, indented like rows."""
        from rich.padding import Padding

        self.console.print(Padding(what, (0, 0, 0, 2)))

    def write(self, text: str) -> None:
        """Text as it comes; a terminal does not obey what a model writes."""
        super().write(text.translate(_CONTROLS))

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(self._text(text, style))

    @staticmethod
    def _text(text: str, style: str) -> Text:
        from rich.text import Text

        return Text(text.translate(_CONTROLS), style)


class Paragraph:
    """Text that comes in pieces, indented, and broken between words where the screen has an edge."""

    def __init__(self, screen: Screen, indent: str = "  ") -> None:
        self._screen = screen
        self._indent = indent
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        """The next piece; a word is shown once it is whole."""
        for character in text:
            if character.isspace():
                self._put_word()
                self._put(character)
            else:
                self._word += character

    def end(self) -> None:
        """Show what is left, and end the line."""
        self._put_word()
        self._screen.write("\n")

    def _put_word(self) -> None:
        width = self._screen.width
        if width is not None and self._column and self._column + len(self._word) >= width:
            self._put("\n")
        if self._word:
            self._put(self._word)
        self._word = ""

    def _put(self, text: str) -> None:
        if text == "\n":
            self._screen.write(text)
            self._column = 0
            return
        if not self._column:
            if text.isspace():
                return
            self._screen.write(self._indent)
            self._column = len(self._indent)
        self._screen.write(text)
        self._column += len(text)


def is_rich(stream: TextIO) -> bool:
    """Can Rich draw on it?"""
    return (
        stream.isatty() and os.environ.get("TERM") != "dumb" and importlib.util.find_spec("rich") is not None
    )


def open_screen(stream: TextIO, *, no_color: bool = False) -> Screen:
    """The screen that fits the stream."""
    return RichScreen(stream, no_color=no_color) if is_rich(stream) else Screen(stream)


def megabytes(count: int) -> str:
    """A size in words."""
    return f"{count / 1e6:.1f} MB"


def in_home(path: str | os.PathLike[str]) -> str:
    """A path as people write it."""
    text, home = os.fspath(path), os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises without a home
    return f"~{text[len(home) :]}" if home != "/" and text.startswith(f"{home}/") else text
