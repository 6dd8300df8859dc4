"""Processes with an embedded model: they end in order, and a fork has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")

SCRIPT = """
import json, os, sys, threading, time
from pathlib import Path
from showcaller.actors.backend_config import Timeouts
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports.embedded import EmbeddedTransport

transport = EmbeddedTransport(model_path=Path(sys.argv[1]))

def attempt(text, **options):
    payload = {"messages": [{"role": "user", "content": text}]} | options
    return transport.attempt(Attempt(
        request_id="r", number=1, backend="local", payload=json.dumps(payload).encode(), stream=True,
        deadline=time.monotonic() + 60, timeout=Timeouts.of_total(60.0),
    ))

begun = threading.Semaphore(0)

def run(text, events):
    stream = attempt(text, max_tokens=4000, ignore_eos=True)
    for _, _ in zip(range(events), stream):
        pass
    begun.release()
    for _ in stream:
        pass

def start(count, text, events):
    for _ in range(count):
        threading.Thread(target=run, args=(text, events), daemon=True).start()
    for _ in range(min(count, 2)):
        assert begun.acquire(timeout=50)
"""

ENDINGS = {
    "nothing in flight": "print(len(list(attempt('hi', max_tokens=2))) > 1)",
    "answers in flight": "start(2, 'Tell a story', 3); print(True)",
    "more in flight than slots": "start(5, 'Tell a story', 3); print(True)",
    "a prompt being read": "start(1, 'hello ' * 3500, 1); print(True)",
    "an exception": "start(1, 'Tell a story', 3); print(True, flush=True); sys.exit(0)",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_interpreter_exits_when_close_was_forgotten(model_path: Path, ending: str) -> None:
    """Neither a hang nor a signal, and llama.cpp has written nothing to the terminal."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + ending, str(model_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")


FORKED = """
import gc, warnings
warnings.simplefilter("ignore")
list(attempt("hi", max_tokens=2))
child = os.fork()
if child == 0:
    (failed,) = attempt("hi", max_tokens=2)
    transport.close()
    del transport
    gc.collect()
    os._exit(7 if "before the fork" in str(failed.error) else 8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(attempt("hi", max_tokens=2))) > 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_after_a_fork_the_child_is_refused_at_once(model_path: Path) -> None:
    """The child neither waits for threads that it does not have nor harms the parent's model."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + FORKED, str(model_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "7 True\n"), result.stderr
