"""What the tree says in its logs: every event's logger, level and words, decided once.

WARNING and above are for the operator, INFO tells the life of the tree, DEBUG the way of single requests.
Secrets are taken out by the filter that runtime/logging.py puts on each of these loggers.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from attrs import frozen


@frozen
class LogEvent:
    """One thing that may be said.

    Attributes:
        logger: the logger's full name.
        level: one of logging's levels.
        template: the words, with %-places for the arguments of `say`.
    """

    logger: str
    level: int
    template: str

    def say(self, *args: object, error: BaseException | None = None) -> None:
        """Log it; `error` adds its traceback. What a host's handler raises must not end an actor."""
        with suppress(Exception):
            logging.getLogger(self.logger).log(self.level, self.template, *args, exc_info=error)


RUNTIME_STARTED = LogEvent("showcaller.runtime", logging.INFO, "started with %d backends and %d routes")
RUNTIME_STOPPED = LogEvent("showcaller.runtime", logging.INFO, "stopped; %d requests were still open")
RUNTIME_FAILED = LogEvent("showcaller.runtime", logging.CRITICAL, "cannot go on: %s")
AUTO_CHOSE = LogEvent("showcaller.runtime", logging.INFO, "no configuration; AUTO chose %s: %s")
THREADS_LEFT = LogEvent(
    "showcaller.runtime", logging.WARNING, "%d threads had not ended when the runtime stopped"
)
CONTROL_OFF = LogEvent(
    "showcaller.runtime",
    logging.WARNING,
    "no control socket, so `showcaller status` does not see this runtime: %s",
)
CALLBACK_LOST = LogEvent("showcaller.callbacks", logging.ERROR, "no thread for %s; it is not called")
CALLBACK_RAISED = LogEvent("showcaller.callbacks", logging.ERROR, "a callback raised")

ACTOR_RESTARTED = LogEvent("showcaller.guardian", logging.WARNING, "%s is restarted in %.1f s after: %s")
ACTOR_FAILED = LogEvent("showcaller.guardian", logging.ERROR, "%s died too often, is FAILED for %.0f s: %s")

BACKEND_RESTARTED = LogEvent("showcaller.supervisor", logging.WARNING, "%s is restarted in %.1f s after: %s")
BACKEND_FAILED = LogEvent(
    "showcaller.supervisor", logging.ERROR, "%s died too often, is FAILED for %.0f s: %s"
)
BACKEND_RETIRED = LogEvent("showcaller.supervisor", logging.WARNING, "%s is retired by its provider: %s")
BREAKER_OPENED = LogEvent("showcaller.supervisor", logging.WARNING, "%s gets no requests for %.1f s: %s")
BREAKER_CLOSED = LogEvent("showcaller.supervisor", logging.INFO, "%s gets requests again")
STRATEGY_FAILED = LogEvent("showcaller.supervisor", logging.ERROR, "route %s: %s")
ATTEMPT_FAILED = LogEvent("showcaller.supervisor", logging.DEBUG, "request %s, attempt %d at %s failed: %s")
SEAT_ABANDONED = LogEvent("showcaller.supervisor", logging.WARNING, "a seat of %s hangs and is abandoned")

CHECK_RAISED = LogEvent("showcaller.seat", logging.ERROR, "request %s: %s")
TRANSPORT_RAISED = LogEvent("showcaller.seat", logging.ERROR, "the transport of %s raised")
