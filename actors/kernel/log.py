"""The kernel's log. Log handlers are the host's code: what one raises must not end a thread of ours."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any


class _Log(logging.LoggerAdapter[logging.Logger]):
    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        with suppress(Exception):
            super().log(level, msg, *args, stacklevel=2, **kwargs)


log = _Log(logging.getLogger("showcaller.kernel"), {})
