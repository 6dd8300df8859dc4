"""The recorder: keeps the last attempts, what was asked and what was answered, in memory."""

from __future__ import annotations

import threading
from collections import deque

from showcaller.actors.messages import Observation, Observed
from showcaller.actors.records import RecordedRequest
from showcaller.actors.tree_actor import TreeActor

KEPT = 1000
"""That many recordings are kept; the oldest go first."""


class Recordings:
    """The recordings; written by the actor, read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Observation] = deque(maxlen=KEPT)

    def add(self, seen: Observation) -> None:
        """Keep one more attempt; it becomes a recording when somebody looks."""
        with self._lock:
            self._kept.append(seen)

    def get_recordings(
        self, backend: str | None = None, *, success_only: bool = False
    ) -> list[RecordedRequest]:
        """The recordings, the oldest first; of one backend, or only the successes, when asked for."""
        with self._lock:
            kept = list(self._kept)
        return [
            _recording_of(seen)
            for seen in kept
            if (backend is None or seen.backend == backend) and (seen.error is None or not success_only)
        ]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


class Recorder(TreeActor):
    """One incarnation of the recorder."""

    def __init__(self, recordings: Recordings) -> None:
        super().__init__()
        self._recordings = recordings

    def on_observed(self, message: Observed) -> None:
        """Attempts have finished."""
        for seen in message.observations:
            self._recordings.add(seen)


def _recording_of(seen: Observation) -> RecordedRequest:
    return RecordedRequest(
        request_id=seen.request_id,
        timestamp=seen.at,
        prompt=seen.payload.decode(),
        backend=seen.backend,
        response=seen.content if seen.error is None else None,
        latency=seen.latency,
        success=seen.error is None,
        metadata=seen.metadata,
    )
