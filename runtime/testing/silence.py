"""What a simulated runtime would log is in its report; a thousand runs must not fill the host's log."""

from __future__ import annotations

import logging

from showcaller.actors.kernel.context import is_paced
from showcaller.runtime.logging import LOGGERS


class _Silence(logging.Filter):
    """Drops what is logged on a thread that simulates."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not is_paced()


_FILTER = _Silence()


def silence_simulations() -> None:
    """Put the filter on every logger of the library, before all others; safe to repeat."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.filters.insert(0, _FILTER)
