"""`showcaller simulate`."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from showcaller.runtime.cli.durations import as_typed, seconds_of
from showcaller.runtime.cli.output import open_screen
from showcaller.runtime.cli.simulate import Order, progress_on, simulate
from showcaller.runtime.cli.simulation_view import show_report
from showcaller.runtime.cli.sparkline import counts_over, sparkline
from showcaller.runtime.testing import faults, world
from showcaller.runtime.testing.inspector import Inspector
from showcaller.runtime.testing.scenario import Planned
from tests.runtime.cli.conftest import Command
from tests.runtime.cli.test_output import Terminal

CONFIG = """
[runtime]
model = "fast"
[backends.openai]
type = "openai"
api_key = { env = "NO_SUCH_VARIABLE" }
model = "gpt-5-mini"
[backends.cloud]
type = "openai"
base_url = "http://127.0.0.1:9/v1"
models = ["@cf/large", "small"]
[routes.fast]
routing_strategy = "round_robin"
targets = ["openai", "cloud/@cf/large"]
"""
SHORT = ("--duration", "60", "--rate", "2")


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration whose key is nowhere."""
    path = tmp_path / "mine.toml"
    path.write_text(CONFIG)
    return str(path)


def digest_of(text: str) -> str:
    """The digest in a report."""
    found = re.search(r"digest +([0-9a-f]{32})\n", text)
    assert found is not None, text
    return found[1]


def order(*outages: str, seed: int = 3) -> Order:
    """The demo for a minute."""
    return Order.of(None, demo=True, seed=seed, duration="1m", rate=3.0, faults={"--outage": outages})


# --- the command ---


def test_it_reports_a_run_of_a_configuration_without_its_key(command: Command, config: str) -> None:
    """End to end: counts, backends, errors, timeline, invariants, and nothing else on stderr."""
    done = command.run("simulate", config, *SHORT, "--seed", "7", "--outage", "openai@20+20")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert text.startswith(f"Simulation of {config}\n")
    accounts = re.search(r"accepted +(\d+) = (\d+) answered \+ (\d+) failed \+ 0 given up \+ 0 open\n", text)
    assert accounts is not None, text
    assert int(accounts[1]) == int(accounts[2]) + int(accounts[3]) > 80
    assert re.search(r"success +100.00 %\n", text)
    assert re.search(r"latency +p50 \d+\.\d\d s, p95 \d+\.\d\d s, p99 \d+\.\d\d s\n", text)
    assert re.search(r"openai +\d+\.\d% +\d+ +[1-9]\d* .*[▁-█]·{5,}.*[▁-█]", text)
    assert re.search(r"cloud/@cf/large +\d+\.\d% +\d+ +0 ", text)
    assert re.search(r"BackendUnreachableError +0 +[1-9]", text)
    timeline = text.partition("\nTimeline\n")[2]
    assert re.match(r" +20\.0 s +outage\('openai', duration=20\.0\)\n", timeline)
    assert re.search(r"\n +2\d\.\d s +openai is left alone for \d+\.\d s: its breaker is open\n", timeline)
    assert re.search(r"\n +40\.0 s +outage\(.*\) is over\n", timeline)
    assert "✓  invariants  all hold\n" in text
    assert "\x1b" not in text
    assert done.stderr == ""


def test_the_command_that_it_prints_repeats_it(command: Command, config: str) -> None:
    """To the last character but for the computer's own speed; another seed is another run."""
    first = command.run(
        "simulate",
        config,
        *SHORT,
        "--crash",
        "supervisor@5",
        "--slow",
        "openai@1+2x3.5:0.5",
        "--model",
        "openai",
    )
    last = first.stdout.splitlines()[-1]
    words = shlex.split(last)
    assert words[:3] == ["showcaller", "simulate", config]
    second = command.run(*words[1:], PYTHONHASHSEED="5")
    speed = re.compile(r"steps .*\n")
    assert speed.sub("", first.stdout) == speed.sub("", second.stdout)
    other = command.run(*words[1:], "--seed", "1")
    assert digest_of(other.stdout) != digest_of(first.stdout)


def test_json_is_one_object_and_the_same_each_time(command: Command, config: str) -> None:
    """With all that the report knows, and the command."""
    arguments = ("simulate", config, *SHORT, "--json", "--errors", "openai@10+30:rate_limit")
    first, second = command.run(*arguments), command.run(*arguments)
    assert first.stdout == second.stdout
    assert first.stderr == ""
    told = json.loads(first.stdout)
    assert told["command"].startswith(
        f"showcaller simulate {config} --seed 0 --duration 1m --rate 2 --errors"
    )
    assert told["answered"] == len(told["requests"]) > 80
    assert told["attempt_errors"].keys() == {"RateLimitError"}
    assert told["backends"]["openai"]["errors"] == told["attempt_errors"]["RateLimitError"]
    assert told["violations"] == []
    assert {one["route"] for one in told["attempts"]} == {"fast"}


def test_a_configuration_is_looked_for_where_every_command_looks(
    invoke: Callable[..., Result], tmp_path: Path
) -> None:
    """And the command names it, so that it is the same from now on."""
    (tmp_path / "showcaller.toml").write_text(CONFIG)
    text = invoke("simulate", *SHORT).output
    assert text.startswith("Simulation of showcaller.toml\n")
    assert "showcaller simulate showcaller.toml --seed 0" in text


def test_without_any_configuration_it_takes_the_demos_and_says_so(invoke: Callable[..., Result]) -> None:
    """The command then names the demo."""
    text = invoke("simulate", *SHORT).output
    assert text.startswith("Simulation of the demo's configuration, as none was found\n")
    assert "showcaller simulate --demo --seed 0" in text
    assert "local-a" in text


def test_the_demo_can_be_asked_for(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """Whatever configuration there is."""
    (tmp_path / "showcaller.toml").write_text(CONFIG)
    text = invoke("simulate", "--demo", *SHORT).output
    assert text.startswith("Simulation of the demo's configuration\n")
    both = invoke("simulate", "showcaller.toml", "--demo")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "--demo showcaller.toml: " in both.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--outage", "openai@60"], "--outage openai@60: use BACKEND@START+DURATION, such as openai@60+120"),
        (["--outage", "60+120"], "use BACKEND@START+DURATION"),
        (["--outage", "@60+120"], "use BACKEND@START+DURATION"),
        (["--outage", "openai@60+1d"], "times are seconds, or 90s, 10m, 1h"),
        (["--outage", "opena@60+120"], "no backend is named 'opena'; did you mean \"openai\"?"),
        (["--outage", "supervisor@60+120"], "no backend is named 'supervisor'"),
        (["--slow", "openai@60+120"], "use BACKEND@START+DURATIONxFACTOR"),
        (["--slow", "openai@60+120x0"], "--slow openai@60+120x0: slow.factor"),
        (["--slow", "openai@60+120x2:1.5"], "--slow openai@60+120x2:1.5: slow.share"),
        (["--crash", "supervisr@9"], "no actor is named 'supervisr'; did you mean \"supervisor\"?"),
        (["--crash", "supervisor@9+9"], "use ACTOR@TIME, such as supervisor@90"),
        (["--crash", "supervisor@10m"], "it would strike after the end, at 600 s"),
        (["--errors", "openai@60+30"], "use BACKEND@START+DURATION:KIND"),
        (["--errors", "openai@60+30:rate_limits"], 'did you mean "rate_limit"?'),
        (["--duration", "10 m"], "--duration 10 m: use a time, such as 90, 90s, 10m or 1h"),
        (["--duration", "0"], "--duration 0: use a time"),
        (["--rate", "0"], "--rate 0: use requests a second, more than 0"),
        (["--rate", "nan"], "--rate nan: "),
        (["--rate", "inf"], "--rate inf: "),
        (["--rate", "1e300"], "--rate 1e+300: that is more than 10,000,000 requests"),
        (["--model", "fats"], 'did you mean "fast"?'),
    ],
)
def test_wrong_usage_is_2_and_names_option_value_and_form(
    arguments: list[str], said: str, invoke: Callable[..., Result], config: str
) -> None:
    """Before anything is simulated."""
    result = invoke("simulate", config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("showcaller: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_backend_may_have_the_signs_of_the_form_in_its_name(config: str) -> None:
    """As models of some providers do."""
    specs = {"--outage": ["cloud/@cf/large@1m+2m"]}
    (spec,) = Order.of(Path(config), seed=1, duration="10m", rate=1.0, faults=specs).faults
    assert spec.planned == Planned(60.0, faults.outage("cloud/@cf/large", 120.0))


def test_what_has_no_backend_cannot_be_simulated(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """An empty file is a valid configuration."""
    (tmp_path / "empty.toml").write_text("")
    result = invoke("simulate", "empty.toml")
    assert result.exit_code == 2
    assert "empty.toml: there is no backend in it" in result.stderr


def test_a_violated_invariant_is_1_and_is_told(
    invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text and as JSON."""
    monkeypatch.setattr(Inspector, "at_end", lambda self: self.violations.append("r-3 has two outcomes"))
    shown = invoke("simulate", "--demo", *SHORT)
    assert shown.exit_code == 1
    assert "✗  invariants  r-3 has two outcomes\n" in shown.stdout
    assert "all hold" not in shown.stdout
    told = invoke("simulate", "--demo", "--json", *SHORT)
    assert told.exit_code == 1
    assert json.loads(told.stdout)["violations"] == ["r-3 has two outcomes"]


def test_a_simulation_that_cannot_go_on_is_1_with_the_command(
    invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, and no traceback."""
    monkeypatch.setattr(world, "AT_ONE_MOMENT", 3)
    result = invoke("simulate", "--demo", "--seed", "4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("showcaller: the simulation cannot go on: 3 steps were made")
    assert "showcaller simulate --demo --seed 4 --duration 10m --rate 5\n" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_interrupt_ends_it(command: Command) -> None:
    """A long one, in the middle: 130, and one line."""
    process = command.start("simulate", "--demo", "--duration", "100h", PYTHONPROFILEIMPORTTIME="1")
    try:
        assert process.stderr is not None
        for line in process.stderr:
            # The last module that is imported, and it is imported inside the run.
            if "showcaller.runtime.testing.scenario" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("showcaller: interrupted\n")
    assert "Traceback" not in err


# --- the order ---


def test_slices_of_time_change_nothing() -> None:
    """The progress is shown between them, and the run is that of the scenario."""
    wanted = order("local-a@20+20")
    shares: list[float] = []
    report = simulate(wanted, shares.append)
    assert report == wanted.scenario.run()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("10m", 600), ("1h", 3600), ("0.5", 0.5), ("0", 0)],
)
def test_a_duration_can_be_typed_in_several_ways(text: str, seconds: float) -> None:
    """And the shortest way that says it is read as the same."""
    assert seconds_of(text) == seconds
    assert seconds_of(as_typed(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "s", "10d", "-1", "1e3", "1m30s", " 1", "nan", "٣"])
def test_what_is_no_duration_is_none(text: str) -> None:
    """Whatever Python would make of it."""
    assert seconds_of(text) is None


# --- how it looks ---


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_the_bars_of_each_backend(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the table where there is room, and else below; no line but the command is wider than the screen."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    wanted, terminal = order("local-a@10+10"), Terminal()
    show_report(open_screen(terminal, no_color=True), simulate(wanted), wanted)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert all(len(line) <= columns for line in lines[:-1])
    bars = [
        line.rstrip() for line in lines if re.match(r"  local-a .*[▁-█]·{3,}[▁-█·]*[▁-█·]$", line.rstrip())
    ]
    (line,) = bars
    assert ("%" in line) == (columns == 120)
    assert lines[-1] == f"  {wanted.command}"


def test_progress_is_shown_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nowhere else."""
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    with progress_on(terminal) as progress:
        progress(0.5)
    text = terminal.getvalue()
    assert "Simulating" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.rindex("\x1b[2K") > text.rindex("Simulating")


def test_bars_have_one_scale_and_nothing_is_no_bar() -> None:
    """The smallest count is seen, the greatest is full."""
    assert counts_over([0.0, 0.9, 5.0, 9.9, 10.0], 10.0, 5) == [2, 0, 1, 0, 2]
    assert sparkline([0, 1, 8, 4], 8) == "·▁█▄"
    assert sparkline([0, 1], 1000) == "·▁"
    assert sparkline([0, 0], 0) == "··"
