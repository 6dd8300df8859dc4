"""The health monitor: judges each backend by its last attempts, and says when its judgement changes."""

from __future__ import annotations

import threading

from showcaller.actors.enums import BackendState
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.messages import HealthChanged, Observed
from showcaller.actors.policies.health_window import HealthThresholds, HealthWindow
from showcaller.actors.records import BackendHealthStatus
from showcaller.actors.tree_actor import TreeActor


class HealthBoard:
    """The windows of all backends: written by the actor, which it outlives, and read from any thread."""

    def __init__(self, thresholds: HealthThresholds) -> None:
        self._thresholds = thresholds
        self._lock = threading.Lock()
        self._windows: dict[str, HealthWindow] = {}

    def record(self, backend: str, ok: bool, latency: float, now: float) -> BackendState | None:
        """Count an attempt; the state, when it is another now."""
        with self._lock:
            window = self._windows.setdefault(backend, HealthWindow(self._thresholds))
            before = window.state
            window.record(ok, latency, now)
            return window.state if window.state is not before else None

    def get_status(self, backend: str) -> BackendHealthStatus:
        """What is known of a backend; UNKNOWN when that is nothing."""
        with self._lock:
            window = self._windows.get(backend) or HealthWindow(self._thresholds)
            return BackendHealthStatus(
                backend=backend,
                state=window.state,
                last_check=window.last_check,
                success_rate=1.0 if window.success_rate is None else window.success_rate,
                avg_latency=window.average_latency or 0.0,
                error_count=window.errors,
            )

    def get_all_status(self) -> dict[str, BackendHealthStatus]:
        """What is known of every backend that was tried."""
        return {backend: self.get_status(backend) for backend in list(self._windows)}

    def is_healthy(self, backend: str) -> bool:
        """Is it HEALTHY?"""
        return self.get_status(backend).state is BackendState.HEALTHY


class HealthMonitor(TreeActor):
    """One incarnation of the health monitor."""

    def __init__(self, board: HealthBoard, supervisor: Recipient) -> None:
        super().__init__()
        self._board = board
        self._supervisor = supervisor

    def on_observed(self, message: Observed) -> None:
        """Attempts have finished."""
        for seen in message.observations:
            if seen.error is not None and not seen.blames_backend:
                continue
            state = self._board.record(seen.backend, seen.error is None, seen.latency, seen.at)
            if state is not None:
                self._supervisor.tell(HealthChanged(seen.backend, state))
