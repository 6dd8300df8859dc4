"""The batchers of a runtime: made of its parts, numbered, and failed when it ends."""

from __future__ import annotations

import itertools

from showcaller.actors.errors import RuntimeStoppedError
from showcaller.runtime.batcher import Batcher
from showcaller.runtime.edge import Edge
from showcaller.runtime.engine import Engine
from showcaller.runtime.prompt import Options


class Batchers:
    """Those that are open. Thread-safe."""

    def __init__(self, edge: Edge, engine: Engine) -> None:
        self._edge = edge
        self._engine = engine
        self._open: dict[Batcher, None] = {}
        self._numbers = itertools.count(1)
        self._ended: RuntimeStoppedError | None = None

    def make(
        self, *, max_size: int, max_wait: float, max_concurrency: int, max_pending: int, options: Options
    ) -> Batcher:
        """One more, as `Runtime.batcher` says it; when the runtime has ended, it has failed already."""
        tree, machine = self._engine.tree, self._engine.machine
        batcher = Batcher(
            self._edge,
            clock=tree.system.clock,
            callbacks=machine.callbacks,
            check=lambda request: tree.roster.config.route_for(request.model),
            timeout=tree.config.runtime.timeout,
            name=f"{machine.name}-batch{next(self._numbers)}",
            max_size=max_size,
            max_wait=max_wait,
            max_concurrency=max_concurrency,
            max_pending=max_pending,
            options=options,
            on_closed=lambda closed: self._open.pop(closed, None),
        )
        self._open[batcher] = None
        if self._ended is not None:
            batcher.fail(self._ended)
        return batcher

    def fail(self, error: RuntimeStoppedError) -> None:
        """Give up what none of them has sent, and take nothing any more."""
        # In this order: a batcher that is just being made sees it, or is seen.
        self._ended = error
        for batcher in list(self._open):
            batcher.fail(error)
