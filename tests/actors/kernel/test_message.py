"""Messages know their handler, and what is said about a crash tells no content."""

from __future__ import annotations

import pytest

from showcaller.actors.kernel.message import Crash, Down, Message


def test_a_message_names_its_handler():
    """From the name of its class."""

    class AttemptFinished(Message):
        pass

    assert AttemptFinished.handler == "on_attempt_finished"


@pytest.mark.parametrize("name", ["Start", "Stop", "Failure", "Receive"])
def test_a_message_cannot_take_a_name_of_pykka(name):
    """It would call a phase of the actor's life and kill it."""
    with pytest.raises(TypeError, match=f"{name} would go to Pykka's own on_{name.lower()}"):
        type(name, (Message,), {})


def test_a_crash_says_phase_type_and_place_and_nothing_of_the_content():
    """The error's text may hold a prompt or a key."""
    try:
        raise ValueError("CANARY")
    except ValueError as error:
        crash = Crash("on_note", error)
    assert str(crash).startswith("ValueError in on_note at test_message.py:")
    assert str(Crash("on_note", ValueError("CANARY"))) == "ValueError in on_note"
    down = Down("slot", 1, crash, in_hand="CANARY", salvaged=("CANARY",))
    assert "CANARY" not in f"{crash} {crash!r} {down} {down!r}"
