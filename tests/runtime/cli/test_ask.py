"""`showcaller ask`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.runtime.cli.conftest import PATIENCE, Command
from tests.runtime.transports.fault_server import (
    SSE_HEAD,
    FaultServer,
    Peer,
    Script,
    chunked,
    completion,
    event,
    good,
    piece,
    reply,
    sse,
    stall_after,
    then,
    write,
)

FIRST_WORD = write(SSE_HEAD, chunked(piece(""), piece("Hel"), end=False))


def the_rest_once(told: threading.Event) -> Script:
    """A stream whose end waits for a word from the test."""

    def wait(_: Peer) -> None:
        assert told.wait(PATIENCE)

    return then(FIRST_WORD, wait, write(chunked(piece("lo"), piece(None, "stop"), event("[DONE]"))))


@pytest.mark.usefixtures("model")
def test_the_demo_model_answers_when_nothing_is_configured(command: Command) -> None:
    """The answer alone on stdout; on stderr that it is a demo model."""
    done = command.run("ask", "Say hello")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "demo model" in done.stderr
    assert "its answers are poor" in done.stderr


@pytest.mark.usefixtures("model")
def test_what_was_found_and_cannot_be_used_is_told(command: Command) -> None:
    """Who has set an endpoint should not get the demo model without a word about why."""
    done = command.run("ask", "Say hello", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert done.returncode == 0, done.stderr
    assert "openai is passed over: OPENAI_BASE_URL is set and no model is named" in done.stderr


@pytest.mark.usefixtures("model")
def test_json_is_one_object(command: Command) -> None:
    """With what a script wants to know of an answer."""
    done = command.run("ask", "--json", "Say hello")
    answer = json.loads(done.stdout)
    assert answer["content"]
    assert (answer["backend"], answer["model"], answer["source"]) == ("local", "smollm2", "live")
    assert answer["usage"]["output_tokens"] > 0
    assert answer["latency"] > 0
    assert answer["request_id"]
    assert answer["finish_reason"] in ("stop", "length")


def test_a_piece_is_shown_before_the_rest_is_there(
    command: Command, endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """That is what a stream is for."""
    told = threading.Event()
    endpoint.play(the_rest_once(told))
    process = command.start("ask", "hi", **pointed_at)
    assert process.stdout is not None
    assert process.stdout.read(3) == "Hel"
    told.set()
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("lo\n", 0), err


def test_an_interrupt_cancels_upstream_and_is_130(
    command: Command, endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """Promptly, and with neither a traceback nor the noise of threads."""
    endpoint.play(stall_after(FIRST_WORD, endpoint))
    process = command.start("ask", "hi", **pointed_at)
    assert process.stdout is not None
    assert process.stdout.read(3) == "Hel"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=3)
    assert process.returncode == 130
    assert err.endswith("showcaller: interrupted\n")
    assert "Traceback" not in err
    assert "Exception" not in err
    assert endpoint.hung_up.wait(PATIENCE)


def test_a_reader_that_goes_away_is_no_crash(
    command: Command, endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """As in `showcaller ask … | head -1`: upstream is cancelled too."""
    told = threading.Event()
    endpoint.play(the_rest_once(told))
    process = command.start("ask", "hi", **pointed_at)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(3) == "Hel"
    process.stdout.close()
    told.set()
    err = process.stderr.read()
    assert process.wait(PATIENCE) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    process.stderr.close()


def test_a_stream_that_breaks_keeps_what_came_and_is_1(
    invoke: Callable[..., Result], endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """The text is an answer in part, and said to be one."""
    endpoint.play(sse(piece(""), piece("Hel"), end=True))
    result = invoke("ask", "hi", **pointed_at)
    assert result.exit_code == 1
    assert result.stdout == "Hel\n"
    assert result.stderr.splitlines()[-1].startswith("showcaller: ")


def test_a_transformed_answer_comes_in_one_piece(
    invoke: Callable[..., Result], endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """And only it; with --json beside the parsed value."""
    endpoint.play(reply(200, completion(content='Sure: {"n": [1]} ')))
    result = invoke("ask", "--transform", "extract_json", "hi", **pointed_at)
    assert (result.exit_code, result.stdout) == (0, '{"n": [1]}\n')
    result = invoke("ask", "--json", "--transform", "extract_json", "hi", **pointed_at)
    assert json.loads(result.stdout)["parsed"] == {"n": [1]}
    assert invoke("ask", "--transform", "extract", "hi", **pointed_at).exit_code == 2


def test_a_dash_reads_the_prompt_from_stdin(
    invoke: Callable[..., Result], endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """For prompts that no shell likes."""
    endpoint.play(good)
    result = invoke("ask", "-", stdin="from a pipe", **pointed_at)
    assert result.stdout == "Hello\n"
    assert body_of(endpoint)["messages"] == [{"role": "user", "content": "from a pipe"}]


def test_the_options_reach_the_endpoint(
    invoke: Callable[..., Result], endpoint: FaultServer, pointed_at: dict[str, str]
) -> None:
    """Without a configuration, --model is what the endpoint is asked for."""
    endpoint.play(good)
    result = invoke("ask", "hi", "--model", "another", "--system", "Be brief.", **pointed_at)
    assert result.exit_code == 0, result.stderr
    body = body_of(endpoint)
    assert body["model"] == "another"
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_configuration_is_taken_and_nothing_is_said_of_auto(
    invoke: Callable[..., Result], endpoint: FaultServer, tmp_path: Path
) -> None:
    """Nothing is on stderr when everything is as configured."""
    endpoint.play(good)
    file = tmp_path / "mine.toml"
    file.write_text(
        f'[backends.mine]\ntype = "openai_compatible"\nmodel = "m"\nbase_url = "{endpoint.url}"\n'
    )
    result = invoke("ask", "hi", "--config", str(file), "--json")
    assert json.loads(result.stdout)["backend"] == "mine"
    assert result.stderr == ""


def body_of(endpoint: FaultServer) -> Any:
    """The last request's body."""
    return json.loads(endpoint.requests[-1].partition(b"\r\n\r\n")[2])
