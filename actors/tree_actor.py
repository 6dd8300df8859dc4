"""What every actor of the tree can do beside its own work: crash on demand, as a drill."""

from __future__ import annotations

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.messages import Provoke, WindDown


class DrillError(ShowcallerError):
    """An actor was told to crash."""


class TreeActor(KernelActor):
    """The base of the actors of the tree."""

    def on_wind_down(self, _message: WindDown) -> None:
        """Stop after what was told before; unlike a stop, this does not overtake."""
        self.stop()

    def on_provoke(self, message: Provoke) -> None:
        """Crash.

        Raises:
            DrillError: always.
        """
        raise DrillError(message.reason)
