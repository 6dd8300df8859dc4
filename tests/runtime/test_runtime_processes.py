"""What happens to a runtime when its process forks, ends without a stop, or is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PATIENCE = 30.0
ROOT = Path(__file__).parents[2]

BEGINNING = """
import os, signal, sys, threading
sys.path.insert(0, {root!r})
from tests.runtime.live import Gate, Peer, config_of, ready
from showcaller.runtime.runtime import Runtime

gate = Gate()
free, held, hung = Peer(ready), Peer(gate.waiting), Peer(gate.stubborn)
peers = dict(free=free, held=held, hung=hung)
runtime = Runtime.start(config_of(list(peers)), transports=peers)
assert runtime.ask("q", model="free", timeout=20).content == "hi"
"""


def program(text: str) -> list[str]:
    """The command that runs this after the beginning."""
    return [sys.executable, "-c", BEGINNING.format(root=str(ROOT)) + textwrap.dedent(text)]


def run(text: str) -> str:
    """Run it to its end, which must be a good one; what it printed."""
    ended = subprocess.run(program(text), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout


REFUSED = """
    from showcaller.actors.kernel.errors import ForkedProcessError

    def refused(call):
        try:
            call()
        except ForkedProcessError:
            return True
        return False
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_the_childs_calls_fail_at_once_and_the_parents_go_on() -> None:
    """Whatever lock was held by another thread at that moment."""
    said = run(
        REFUSED
        + """
    pending = runtime.submit("q", model="held", timeout=1000)
    assert held.arrived.acquire(timeout=20)
    with runtime._edge._lock:
        child = os.fork()
        if child == 0:
            calls = {
                "ask": lambda: runtime.ask("q"),
                "submit": lambda: runtime.submit("q"),
                "tell": lambda: runtime.tell("q"),
                "stream": lambda: runtime.stream("q"),
                "ask_many": lambda: runtime.ask_many(["q"]),
                "cancel": lambda: runtime.cancel(pending.request_id),
                "status": lambda: runtime.status(),
                "add": lambda: runtime.backends.add(None),
                "drain": lambda: runtime.backends.drain("held"),
                "remove": lambda: runtime.backends.remove("held"),
                "crash": lambda: runtime.backends.crash("held"),
                "tell the supervisor": lambda: runtime.supervisor.tell("hello"),
                "ask the supervisor": lambda: runtime.supervisor.ask("hello"),
            }
            wrong = [name for name, call in calls.items() if not refused(call)]
            runtime.stop()
            os.write(1, f"wrong: {wrong}\\n".encode())
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not held.closed.is_set()
    gate.open()
    assert pending.result(20).content == "hi"
    assert runtime.ask("q", model="free", timeout=20).content == "hi"
    runtime.stop()
    print("parent fine")
    """
    )
    assert said == "wrong: []\nparent fine\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_ends_in_order_leaves_the_parents_requests_alone() -> None:
    """Its atexit and its finalizers run over a runtime, pendings and streams that are not its own."""
    said = run(
        """
    pending = runtime.submit("q", model="held", timeout=1000)
    stream = runtime.stream("q", model="held", timeout=1000)
    for _ in range(2):
        assert held.arrived.acquire(timeout=20)
    child = os.fork()
    if child == 0:
        del stream
        assert threading.active_count() == 1, "a thread was started in the child"
        assert not any(attempt.cancel.cancelled for attempt in held.attempts), "cancelled by the child"
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not any(attempt.cancel.cancelled for attempt in held.attempts)
    gate.open()
    assert pending.result(20).content == stream.response.content == "hi"
    runtime.stop()
    print("parent fine")
    """
    )
    assert said == "parent fine\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_may_start_a_runtime_of_its_own() -> None:
    """As the error says."""
    said = run(
        """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with Runtime.start(config_of(["own"]), transports={"own": Peer(ready)}) as own:
            os.write(1, own.ask("q", timeout=20).content.encode() + b"\\n")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    runtime.stop()
    """
    )
    assert said == "hi\n"


@pytest.mark.parametrize("model", ["free", "held", "hung"])
def test_a_process_that_forgets_to_stop_ends_all_the_same(model: str) -> None:
    """With a request that is done, one that waits, and one that hangs beyond every cancel."""
    run(f'runtime.submit("q", model="{model}", timeout=1000); assert {model}.arrived.acquire(timeout=20)')


@pytest.mark.parametrize("model", ["held", "hung"])
def test_a_process_whose_main_thread_fails_ends(model: str) -> None:
    """The error is the user's own, and so is the exit code."""
    text = f'runtime.submit("q", model="{model}"); assert {model}.arrived.acquire(timeout=20); sys.exit(7)'
    ended = subprocess.run(program(text), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (7, "")


@pytest.mark.parametrize(
    "call",
    [
        'runtime.ask("q", model="held", timeout=1000)',
        'runtime.ask_many(["q"] * 9, model="held", timeout=1000)',
        'next(runtime.stream("q", model="held", timeout=1000))',
        'runtime.submit("q", model="held", timeout=1000).result()',
        'runtime.supervisor.ask(Submit(ChatRequest("q", model="held", timeout=1000)))',
    ],
)
def test_an_interrupt_ends_every_call_that_waits(call: str) -> None:
    """Ctrl-C is a KeyboardInterrupt where the caller waits, and the process ends in order."""
    text = f"""
    from showcaller.actors.messages import Submit
    from showcaller.actors.models import ChatRequest

    def announce():
        assert held.arrived.acquire(timeout=20)
        os.write(1, b"waiting\\n")

    threading.Thread(target=announce, daemon=True).start()
    try:
        {call}
    except KeyboardInterrupt:
        runtime.stop(0)
        print("interrupted", all(attempt.cancel.cancelled for attempt in held.attempts), flush=True)
    """
    process = subprocess.Popen(program(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert (out, errors, process.returncode) == ("interrupted True\n", "", 0)


def test_an_interrupted_ask_cancels_its_own_request() -> None:
    """The runtime goes on."""
    said = run(
        """
    def interrupt():
        assert held.arrived.acquire(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        runtime.ask("q", model="held", timeout=1000)
    except KeyboardInterrupt:
        pass
    assert gate.cancelled.wait(20)
    assert runtime.status().account.open == 0
    assert runtime.ask("q", model="free", timeout=20).content == "hi"
    runtime.stop()
    print("fine")
    """
    )
    assert said == "fine\n"
