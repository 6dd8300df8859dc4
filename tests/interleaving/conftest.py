"""How the tests here explore: at locks and, with fewer preemptions, at lines; each number of schedules is printed."""

from __future__ import annotations

import inspect
import linecache
import sys
from pathlib import Path

import pytest

# Tests are no package: the explorer is found beside them.
sys.path.insert(0, str(Path(__file__).parent))

import explorer

AT_LOCKS = 3
"""Preemptions of a schedule whose steps are the operations of locks."""
AT_LINES = 2
"""The same when each line is a step too."""


@pytest.fixture
def explore(request):
    """`explorer.explore` in both grains: the check must hold under every schedule, of which there are several."""

    def explore_all(*what, locks=(), lines=(), at_locks=AT_LOCKS, at_lines=AT_LINES, **options):
        for grain, fine, preemptions in (("locks", (), at_locks), ("lines", lines, at_lines)):
            schedules = explorer.explore(
                *what, locks={*locks, *lines}, lines=fine, preemptions=preemptions, **options
            )
            print(f"{request.node.name}: {schedules} schedules of {preemptions} preemptions at {grain}")
            assert schedules > 1

    return explore_all


@pytest.fixture
def find(request):
    """The first schedule that shows a planted bug; replayed, it shows it again."""

    def find_one(*what, lines=(), preemptions=AT_LINES, **options):
        with pytest.raises(explorer.FoundError) as found:
            explorer.explore(*what, lines=lines, preemptions=preemptions, **options)
        decisions = found.value.decisions
        with pytest.raises(explorer.FoundError) as again:
            explorer.explore(*what, lines=lines, decisions=decisions, **options)
        assert str(again.value).splitlines()[2:] == str(found.value).splitlines()[2:]
        print(f"{request.node.name}: found by schedule {found.value.schedules}\n{found.value}")
        return found.value

    return find_one


@pytest.fixture
def plant(monkeypatch):
    """Plants a bug: a method is compiled anew where it stands, with pieces of its text exchanged."""

    def plant_one(method, edits):
        module, file = inspect.getmodule(method), inspect.getsourcefile(method)
        lines, first = inspect.getsourcelines(method)
        source = "".join(lines)
        for old, new in edits.items():
            assert source.count(old) == 1, f"{method.__qualname__} has not one {old!r}: plant something else"
            source = source.replace(old, new)
        owner = method.__qualname__.split(".")[0]
        namespace = {}
        exec(compile("\n" * (first - 2) + f"class {owner}:\n{source}", file, "exec"), vars(module), namespace)
        monkeypatch.setattr(getattr(module, owner), method.__name__, vars(namespace[owner])[method.__name__])
        # A schedule shows the lines as they are now.
        text = linecache.getlines(file)
        text = [*text[: first - 1], *source.splitlines(keepends=True), *text[first - 1 + len(lines) :]]
        monkeypatch.setitem(linecache.cache, file, (0, None, text, file))

    return plant_one
