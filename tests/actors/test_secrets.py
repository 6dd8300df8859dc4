"""A secret shows itself to nobody but who reveals it."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import MASK, redact, remember_secret
from showcaller.actors.secrets import CommandSecret, EnvSecret, FileSecret, Secret

CANARY = "canary-7f3a9c51d2"


@attrs.frozen
class Holder:
    """Any attrs class with a secret in it."""

    key: Secret


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Secret]:
    monkeypatch.setenv("A_KEY", CANARY)
    (tmp_path / "key").write_text(f"  {CANARY}\n", encoding="utf-8")
    command = CommandSecret(_python(f"print('{CANARY}')"))
    return [Secret(CANARY), EnvSecret("A_KEY"), FileSecret(tmp_path / "key"), command]


def test_every_kind_reveals_its_value_and_shows_it_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """repr, str, format, f-strings, dicts, attrs and tracebacks with locals say where it is from."""
    for secret in _all_kinds(tmp_path, monkeypatch):
        assert secret.reveal() == CANARY
        held = Holder(secret)
        shows = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s" % secret, repr([secret])]  # noqa: UP031
        shows += [repr(held), repr(attrs.asdict(held)), repr(copy.deepcopy(held)), secret.source]
        try:
            raise ValueError("with the secret among the locals")
        except ValueError as error:
            shows += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        assert [text for text in shows if CANARY in text] == []
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps({"key": secret})


def test_literals_are_equal_by_value_and_the_others_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing two configurations reads no file and runs no command."""
    monkeypatch.delenv("UNSET_KEY", raising=False)
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert EnvSecret("UNSET_KEY") == EnvSecret("UNSET_KEY") != EnvSecret("OTHER")
    assert (
        CommandSecret("pass show a") == CommandSecret(["pass", "show", "a"]) != CommandSecret("pass show b")
    )
    assert FileSecret("a") != EnvSecret("a")
    assert Secret(CANARY) != CANARY
    assert len({Secret(CANARY), Secret(CANARY), EnvSecret("X"), EnvSecret("X")}) == 2


def test_a_value_is_read_late_and_once_until_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated key is seen after it was refused and not before."""
    secret = EnvSecret("LATE_KEY")
    monkeypatch.setenv("LATE_KEY", "first-value")
    assert secret.is_set()
    assert secret.reveal() == "first-value"
    monkeypatch.setenv("LATE_KEY", "second-value")
    assert secret.reveal() == "first-value"
    assert secret.renew(["first-value"], 0.0)
    assert secret.reveal() == "second-value"


def test_a_refused_value_is_read_again_but_not_again_and_again(tmp_path: Path) -> None:
    """In vain at most once in five seconds; when it was renewed already, nothing is read."""
    path = tmp_path / "key"
    path.write_text("first-value")
    secret = FileSecret(path)
    assert secret.reveal() == "first-value"
    assert not secret.renew(["first-value"], 100.0)
    path.write_text("second-value")
    assert not secret.renew(["first-value"], 104.9)
    assert secret.renew(["first-value"], 105.0)
    path.unlink()
    assert secret.renew(["first-value"], 105.0)
    assert not secret.renew(["second-value"], 105.0)
    assert secret.reveal() == "second-value"
    assert not Secret(CANARY).renew([CANARY], 0.0)


def test_a_command_runs_once_for_all_who_ask_at_the_same_time(tmp_path: Path) -> None:
    """A password manager is asked once, not once for each seat."""
    log = tmp_path / "runs"
    code = f"open({str(log)!r}, 'a').write('x'); print('value-1234')"
    secret = CommandSecret(_python(code))
    assert not log.exists()
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(secret.reveal())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == ["value-1234"] * 8
    assert log.read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: EnvSecret("NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE: it is not set"),
        (lambda path: FileSecret(path / "none"), "cannot be read"),
        (lambda path: FileSecret(path), "cannot be read"),
        (lambda path: FileSecret(path / "empty"), "it is empty"),
        (lambda path: FileSecret(path / "two"), "line breaks"),
        (lambda path: FileSecret(path / "binary"), "UTF-8"),
        (lambda path: CommandSecret(["no-such-program-here"]), "cannot be started"),
        (
            lambda path: CommandSecret(_python("import sys; print('canary-7f3a9c51d2'); sys.exit(3)")),
            "code 3",
        ),
        (lambda path: CommandSecret(_python("pass")), "it is empty"),
        (lambda path: CommandSecret(_python("import sys; sys.stdout.buffer.write(b'\\xff')")), "UTF-8"),
    ],
)
def test_a_secret_that_is_not_there_says_where_it_was_looked_for(
    make: Callable[[Path], Secret], told: str, tmp_path: Path
) -> None:
    """And says nothing of what was found instead, in no frame of the traceback."""
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "two").write_text(f"{CANARY}\n{CANARY}", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    secret = make(tmp_path)
    with pytest.raises(ConfigurationError, match=told) as caught:
        secret.reveal()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY not in shown


def test_a_command_that_hangs_is_ended_with_all_it_started() -> None:
    """A child that keeps the pipe open does not keep the caller."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    secret = CommandSecret(_python(code), timeout=0.5)
    begun = time.monotonic()
    with pytest.raises(ConfigurationError, match="longer than"):
        secret.reveal()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "make",
    [
        lambda: Secret(""),
        lambda: Secret(" "),
        lambda: Secret("a\nb"),
        lambda: Secret(5),  # type: ignore[arg-type]
        lambda: EnvSecret(""),
        lambda: EnvSecret("a=b"),
        lambda: EnvSecret(None),  # type: ignore[arg-type]
        lambda: FileSecret(""),
        lambda: FileSecret("a\0b"),
        lambda: FileSecret(3),  # type: ignore[arg-type]
        lambda: CommandSecret([]),
        lambda: CommandSecret(""),
        lambda: CommandSecret("'"),
        lambda: CommandSecret(["a", 1]),  # type: ignore[list-item]
        lambda: CommandSecret(["a\0"]),
        lambda: CommandSecret("a", timeout=0),
        lambda: CommandSecret("a", timeout=True),
    ],
)
def test_what_cannot_be_a_secret_is_refused_at_once(make: Callable[[], Secret]) -> None:
    """Not at the first request."""
    with pytest.raises(ConfigurationError):
        make()


def test_a_refused_literal_is_not_shown() -> None:
    """A secret with a line break in it is still a secret."""
    with pytest.raises(ConfigurationError, match="not shown") as caught:
        Secret(f"{CANARY}\n")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-{s}",
        "ghp_{s}",
        "github_pat_{s}",
        "Authorization: Bearer {s}",
        "{{'Authorization': 'Bearer {s}'}}",
        "{{'api-key': '{s}'}}",
        '{{"x-api-key": "{s}"}}',
        "api_key={s}",
        "OPENAI_API_KEY={s}",
        "password = '{s}'",
        "https://user:{s}@host/path",
        "https://host/v1?key={s}&a=1",
        "https://host/v1?a=1&access_token={s}",
    ],
)
def test_what_is_shaped_like_a_secret_is_masked_though_unknown(text: str) -> None:
    """A provider's error text may quote a key that was never ours."""
    unknown = "q9Zx8Yw7Vu6Ts5Rq4"
    masked = redact(text.format(s=unknown))
    assert unknown not in masked
    assert MASK in masked
    assert redact(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "request 0f8fad5bd9cb469fa16570867728950e failed at openai/gpt-5: 503",
        "the token count is 512, max_tokens=5",
        "environment variable OPENAI_API_KEY: it is not set",
        "https://api.openai.com/v1/chat/completions",
        "task-force-of-twelve-people",
        "a bearer of bad news",
        "basic authentication is off",
        "the token expired",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """A mask in the wrong place hides what the operator needs."""
    assert redact(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40))
@example('quo"te\\back/slash é')
def test_a_known_secret_is_masked_in_every_spelling(value: str) -> None:
    """Plain, in a URL, in JSON and in a repr."""
    from urllib.parse import quote

    remember_secret(value)
    spellings = [value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1]]
    for spelling in spellings:
        assert spelling not in redact(f"<{spelling}>") or spelling in MASK


def test_a_short_known_value_is_no_secret() -> None:
    """Local servers take keys such as "none", which are words."""
    remember_secret("none")
    assert redact("none of them") == "none of them"
