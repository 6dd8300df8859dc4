"""How reports look: on a terminal, and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from showcaller.runtime.cli.download import LineProgress, shown_on
from showcaller.runtime.cli.output import Paragraph, RichScreen, Screen, in_home, open_screen

ROWS = [("✓", "first", "short"), ("✗", "second one", "a long text " * 12)]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of the usual size and kind."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_terminal_gets_colours_and_a_pipe_does_not() -> None:
    """Rich on the one, plain text on the other."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        open_screen(stream).rows(ROWS)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b" not in pipe.getvalue()
    assert "first       short" in pipe.getvalue()


@pytest.mark.parametrize("how", ["argument", "NO_COLOR", "dumb"])
def test_colours_can_be_refused(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By --no-color, by NO_COLOR, and by a terminal that has none."""
    if how == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if how == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    open_screen(terminal, no_color=how == "argument").rows(ROWS)
    assert "\x1b[31m" not in terminal.getvalue()
    assert "\x1b[1;3" not in terminal.getvalue()
    assert "✗" in terminal.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long cause is wrapped in its own column."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    open_screen(terminal, no_color=True).rows(ROWS)
    lines = terminal.getvalue().splitlines()
    assert len(lines) > len(ROWS)
    assert all(len(line) <= columns + len("\x1b[1m\x1b[0m") for line in lines)
    assert lines[-1].startswith(" " * 17)


def test_a_terminal_does_not_obey_what_a_model_writes() -> None:
    """An answer may carry escape codes; a pipe gets it as it is."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        open_screen(stream).write("a\x1b]0;title\x07b\nc\td")
    assert terminal.getvalue() == "a]0;titleb\nc\td"
    assert "\x1b" in pipe.getvalue()


def test_brackets_are_text_and_not_markup() -> None:
    """As in [backends.name]."""
    terminal = Terminal()
    open_screen(terminal).line("see [backends.mine] and [red]")
    assert terminal.getvalue() == "see [backends.mine] and [red]\n"


def paragraph(stream: io.StringIO, *pieces: str) -> list[str]:
    """The lines that the pieces become."""
    one = Paragraph(open_screen(stream))
    for piece in pieces:
        one.write(piece)
    one.end()
    return stream.getvalue().splitlines()


def test_a_paragraph_breaks_between_words_that_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal; a pipe gets one line."""
    monkeypatch.setenv("COLUMNS", "20")
    pieces = ["one two th", "ree four", " five", " six", "\nse", "ven"]
    assert paragraph(Terminal(), *pieces) == ["  one two three ", "  four five six", "  seven"]
    assert paragraph(io.StringIO(), *pieces) == ["  one two three four five six", "  seven"]


def test_home_is_written_as_people_write_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And a folder that only begins like it is not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert in_home(tmp_path / "x") == "~/x"
    assert in_home(f"{tmp_path}x/y") == f"{tmp_path}x/y"


def test_a_download_that_is_not_watched_is_told_in_lines() -> None:
    """Sizes first, the checksum last."""
    pipe = io.StringIO()
    with shown_on(pipe) as progress:
        assert isinstance(progress, LineProgress)
        progress.started("the model", 2_000_000)
        progress.advanced(2_000_000)
        progress.finished("the model", "ab" * 32)
    first, last = pipe.getvalue().splitlines()
    assert first == "Fetching the model, 2.0 MB"
    assert last.startswith("  ✓ 2.0 MB in 0.")
    assert last.endswith(f"sha256 {'ab' * 16}…")


def test_a_download_that_breaks_leaves_the_cursor_visible() -> None:
    """The bar hides it while it moves."""
    terminal = Terminal()

    def fetch() -> None:
        with shown_on(terminal) as progress:
            progress.started("the model", 2_000_000)
            progress.advanced(1_000_000)
            raise RuntimeError("the line is cut")

    with pytest.raises(RuntimeError):
        fetch()
    text = terminal.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_the_kind_of_screen_follows_the_stream() -> None:
    """One is drawn over, the other never."""
    assert isinstance(open_screen(Terminal()), RichScreen)
    assert type(open_screen(io.StringIO())) is Screen
