"""The model behind embedded backends: shared by equal ones, closed with the last, and refused when it is none."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from showcaller.actors.errors import BackendCrashedError, BackendUnreachableError, ConfigurationError
from showcaller.actors.transport import Failed
from showcaller.runtime.transports.embedded import EmbeddedTransport
from showcaller.runtime.transports.embedded_model import EmbeddedModel, ModelParameters
from showcaller.runtime.transports.model_store import ModelUnavailableError
from tests.runtime.transports.contract import error_of
from tests.runtime.transports.local_model import ENDLESS, an_attempt, answers

pytest.importorskip("xllamacpp")


def model_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("showcaller-embedded")]


def test_backends_with_equal_parameters_share_one_model(
    make_embedded: Callable[..., EmbeddedTransport], model_path: Path
) -> None:
    """Two slots serve both, and the model stays until the second has closed."""
    before = len(model_threads())
    first, second = make_embedded(n_ctx=1024, model="a"), make_embedded(n_ctx=1024, model="b")
    assert answers(first)
    assert answers(second)
    assert len(model_threads()) == before + 2
    first.close()
    first.close()
    assert answers(second)
    second.close()
    assert len(model_threads()) == before


def test_other_parameters_are_another_model(model_path: Path) -> None:
    """Sharing never changes what was asked for."""
    parameters = ModelParameters(path=model_path, n_ctx=512, n_parallel=1, n_threads=1)
    bigger = ModelParameters(path=model_path, n_ctx=1024, n_parallel=1, n_threads=1)
    one, same, other = map(EmbeddedModel.shared, (parameters, parameters, bigger))
    assert one is same
    assert other is not one
    for model in (one, same, other):
        model.release()
    fresh = EmbeddedModel.shared(parameters)
    assert fresh is not one
    fresh.release()


def test_closing_fails_what_is_in_flight(make_embedded: Callable[..., EmbeddedTransport]) -> None:
    """Those that are answered and those that wait for a slot; and every later attempt."""
    transport = make_embedded(n_parallel=1)
    sent = threading.Event()

    def run(_: int) -> BaseException:
        events = transport.attempt(an_attempt(**ENDLESS))
        first = next(events)
        if isinstance(first, Failed):
            return first.error
        sent.set()
        return error_of(events)

    with ThreadPoolExecutor(3) as pool:
        errors = [pool.submit(run, number) for number in range(3)]
        assert sent.wait(20)
        transport.close()
        for error in errors:
            assert isinstance(error.result(20), BackendCrashedError | BackendUnreachableError)
    assert isinstance(error_of(transport.attempt(an_attempt())), BackendUnreachableError)


def test_the_port_that_llama_cpp_opens_wants_a_key(model_path: Path) -> None:
    """No other process and no web page may use the model."""
    model = EmbeddedModel.shared(ModelParameters(path=model_path, n_ctx=512, n_parallel=1, n_threads=1))
    try:
        address = model._loaded().listening_address
        url = f"{address}/v1/chat/completions"
        answer = requests.post(url, json={"messages": [{"role": "user", "content": "hi"}]}, timeout=10)
    finally:
        model.release()
    assert re.match(r"http://127\.0\.0\.1:", address)
    assert answer.status_code == 401


# --- what cannot be loaded ---


def test_a_file_that_is_not_there_is_refused_when_the_backend_is_built(tmp_path: Path) -> None:
    """The error names the file and the fix."""
    with pytest.raises(ModelUnavailableError, match=r"gone\.gguf"):
        EmbeddedTransport(model_path=tmp_path / "gone.gguf")


def test_a_truncated_file_is_refused_when_the_backend_is_built(tmp_path: Path, model_path: Path) -> None:
    """Before anything of it is loaded."""
    short = tmp_path / "short.gguf"
    with model_path.open("rb") as whole:
        short.write_bytes(whole.read(4_000_000))
    with pytest.raises(ModelUnavailableError, match="truncated"):
        EmbeddedTransport(model_path=short)


def a_gguf_of_no_model() -> bytes:
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(16)


def test_a_model_that_llama_cpp_cannot_load_fails_the_attempt_and_not_the_process(tmp_path: Path) -> None:
    """The backend can be passed over; once the file is right the next attempt works."""
    path = tmp_path / "empty.gguf"
    path.write_bytes(a_gguf_of_no_model())
    transport = EmbeddedTransport(model_path=path)
    try:
        (failed,) = transport.attempt(an_attempt())
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, BackendUnreachableError)
        assert str(path) in str(failed.error)
        path.unlink()
        assert "No such file" in str(error_of(transport.attempt(an_attempt())))
    finally:
        transport.close()


def test_a_load_that_failed_is_tried_again(tmp_path: Path, model_path: Path) -> None:
    """A file that has been mended needs no restart."""
    path = tmp_path / "model.gguf"
    path.write_bytes(a_gguf_of_no_model())
    transport = EmbeddedTransport(model_path=path)
    try:
        assert isinstance(error_of(transport.attempt(an_attempt())), BackendUnreachableError)
        path.unlink()
        path.symlink_to(model_path)
        assert answers(transport)
    finally:
        transport.close()


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch, model_path: Path) -> None:
    """The package is an extra: who has not installed it is told how."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'showcaller\[embedded\]'"):
        EmbeddedTransport(model_path=model_path)


@pytest.mark.parametrize("wrong", [{"n_ctx": 0}, {"n_parallel": 1.5}, {"n_threads": -1}])
def test_a_wrong_number_is_named(model_path: Path, wrong: dict[str, Any]) -> None:
    """Field, value and fix."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EmbeddedTransport(model_path=model_path, **wrong)
