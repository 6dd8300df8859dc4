"""What actors say to each other: messages, and the one message that says an actor has ended."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import field, frozen


class Recipient(Protocol):
    """Anything that takes messages: an ActorRef, an Address, or the edge of the system."""

    def tell(self, message: Any) -> None:
        """Take the message; never wait."""


class Message:
    """The base of all messages; `CamelCase` is handled by `on_camel_case`.

    `refusable` messages share a mailbox's bounded lane: a full mailbox refuses them at once. All others
    are about work that was accepted already, and are never refused.
    """

    __slots__ = ()
    handler: ClassVar[str] = "on_message"
    refusable: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handler = "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if cls.handler in ("on_start", "on_stop", "on_failure", "on_receive"):
            raise TypeError(f"{cls.__name__} would go to Pykka's own {cls.handler}; give it another name")


@frozen(eq=False)
class Crash:
    """Why an incarnation died: in which phase, and of what."""

    phase: str
    error: BaseException = field(repr=False)

    def __str__(self) -> str:
        """Phase, error type and place; the error's own text may hold what no log should."""
        frames = traceback.extract_tb(self.error.__traceback__, limit=-1)
        place = f" at {Path(frames[0].filename).name}:{frames[0].lineno}" if frames else ""
        return f"{type(self.error).__name__} in {self.phase}{place}"


@frozen(eq=False)
class Down(Message):
    """An incarnation has ended; its parent gets exactly one, whatever the way of dying.

    Attributes:
        slot: the name of the place the actor filled.
        generation: which incarnation of the slot it was.
        crash: why it died, or None when it was stopped.
        in_hand: the message it was handling when it died, or None.
        salvaged: the tells that were still queued, in order.
    """

    slot: str
    generation: int
    crash: Crash | None = None
    in_hand: Any = field(default=None, repr=False)
    salvaged: tuple[Any, ...] = field(default=(), repr=False)
