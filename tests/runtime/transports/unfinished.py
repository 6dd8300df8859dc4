"""Answers of the fault server that have begun, or not even that, and go no further."""

from __future__ import annotations

from tests.runtime.transports.fault_server import JSON_KIND, SSE_HEAD, SSE_KIND, chunked, head, piece, write

NOTHING = write()
HEAD = write(head(200, JSON_KIND, "Content-Length: 99"))
PART = write(head(200, JSON_KIND, "Content-Length: 99") + b"{")
FIRST_WORD = write(SSE_HEAD, chunked(piece("Hel"), end=False))
PINGS = write(SSE_HEAD, chunked(*[b": ping\n\n"] * 3, end=False))
OPEN_END = write(head(200, JSON_KIND) + b"{")
OPEN_STREAM = write(head(200, SSE_KIND) + piece("Hel"))
