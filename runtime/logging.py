"""The library's logging: silent unless the host listens, and no secret in what the host hears.

A filter on a parent logger does not see its children's records, so the one filter sits on every logger that
this library speaks through, and a record is clean before any handler of the host gets it.
"""

from __future__ import annotations

import logging
import traceback

from showcaller.actors.redaction import redact

LOGGERS = (
    "showcaller",
    "showcaller.callbacks",
    "showcaller.guardian",
    "showcaller.kernel",
    "showcaller.runtime",
    "showcaller.seat",
    "showcaller.supervisor",
    # Not ours, but at DEBUG it writes the URLs that we call, query and all.
    "urllib3.connectionpool",
)


class RedactingFilter(logging.Filter):
    """Takes secrets out of a record's message, traceback and stack; it drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = f"{record.msg} (with arguments that do not fit)"
        record.msg = redact(message)
        record.args = ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        # A handler that formats the exception itself would find the secret again.
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


_FILTER = RedactingFilter()


def set_up_logging() -> None:
    """Put the filter on every logger of LOGGERS and keep the library silent by default; safe to repeat."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
    library = logging.getLogger("showcaller")
    if not any(isinstance(handler, logging.NullHandler) for handler in library.handlers):
        library.addHandler(logging.NullHandler())
