"""The room for open requests: how many and how many bytes, and what of it is kept for CRITICAL.

The other classes together never hold more than their part, so that CRITICAL is not refused because of them.
"""

from __future__ import annotations

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import OverloadedError
from showcaller.actors.settings import RuntimeSettings


class OpenRoom:
    """What is taken, by CRITICAL requests and by others.

    Args:
        settings: the two bounds and the share.
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        self._kept_requests = int(settings.max_open_requests * settings.critical_share)
        self._kept_bytes = int(settings.max_open_bytes * settings.critical_share)
        self._requests = {True: 0, False: 0}
        self._bytes = {True: 0, False: 0}

    def take(self, priority: RequestPriority, size: int) -> None:
        """A request of so many bytes comes in."""
        critical = priority is RequestPriority.CRITICAL
        self._requests[critical] += 1
        self._bytes[critical] += size

    def leave(self, priority: RequestPriority, size: int) -> None:
        """It has ended."""
        critical = priority is RequestPriority.CRITICAL
        self._requests[critical] -= 1
        self._bytes[critical] -= size

    def refusal(self, priority: RequestPriority, size: int) -> OverloadedError | None:
        """Why a request of so many bytes may not come in; None: it may."""
        return self._too_many(priority) or self._too_large(priority, size)

    def _too_many(self, priority: RequestPriority) -> OverloadedError | None:
        there, most = sum(self._requests.values()), self._settings.max_open_requests
        if there >= most:
            return OverloadedError(
                f"{there} requests are open, which is max_open_requests; send less at a time, "
                "raise max_open_requests, or try again when some have ended"
            )
        lower = self._requests[False]
        if priority is not RequestPriority.CRITICAL and lower >= most - self._kept_requests:
            return OverloadedError(
                f"{lower} requests below CRITICAL are open, which is max_open_requests = {most} less the "
                f"{self._kept_requests} kept by critical_share; send less at a time, raise max_open_requests, or "
                "try again when some have ended"
            )
        return None

    def _too_large(self, priority: RequestPriority, size: int) -> OverloadedError | None:
        # One alone may be as large as it likes: it could never be sent otherwise.
        if not any(self._requests.values()):
            return None
        there, most = sum(self._bytes.values()), self._settings.max_open_bytes
        if there + size > most:
            return OverloadedError(
                f"{there} bytes of requests are open and this one has {size}, which is more than "
                f"max_open_bytes = {most}; send less at a time, or raise it"
            )
        lower = self._bytes[False]
        if priority is not RequestPriority.CRITICAL and lower + size > most - self._kept_bytes:
            return OverloadedError(
                f"{lower} bytes of requests below CRITICAL are open and this one has {size}, which is more than "
                f"max_open_bytes = {most} less the {self._kept_bytes} kept by critical_share; send less at a time, "
                "or raise it"
            )
        return None
