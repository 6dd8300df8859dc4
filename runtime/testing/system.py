"""The actor system of a world: it makes the same actors, unless a fault says that one cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka

from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.system import ActorSystem


class SimulatedSystem(ActorSystem):
    """See the module's text.

    Args:
        cast: what is made, for a slot and the class it asks for.
    """

    def __init__(self, *, cast: Callable[[str, type[KernelActor]], type[KernelActor]], **parts: Any) -> None:
        super().__init__(**parts)
        self._cast = cast

    def spawn(
        self, actor_class: type[KernelActor], *args: Any, slot: str, parent: Recipient, **options: Any
    ) -> pykka.ActorRef[Any] | None:
        """Start an incarnation; see ActorSystem."""
        return super().spawn(self._cast(slot, actor_class), *args, slot=slot, parent=parent, **options)
