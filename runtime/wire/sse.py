"""Server-sent events, bytes in and events out, however the bytes were split.

Follows the WHATWG grammar with two strict additions: an event that its blank line never ended is not an
event (`close` hands it over), and no line or event may grow past a bound.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from showcaller.actors.errors import MalformedResponseError

MAX_EVENT_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@frozen
class SseEvent:
    """One event: its data lines joined by newlines, and its kind.

    The kind is the `event` field, "message" when there is none, and "error" for a bare `error: {...}` line,
    which some OpenAI-compatible servers send in place of an event.
    """

    data: str
    kind: str = "message"


class SseDecoder:
    """Decodes one stream.

    Args:
        backend: the backend's name, for error texts.
        max_event_bytes: the bound on one line together with the data of its event.
    """

    def __init__(self, *, backend: str, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._backend = backend
        self._max = max_event_bytes
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._skip_lf = False
        self._at_start = True
        self._kind = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> Iterator[SseEvent]:
        """The events that `data` completes; consume the iterator before feeding again.

        Raises:
            MalformedResponseError: a line or an event is larger than the bound.
        """
        if self._skip_lf and data:
            # A CR ended the last feed and its line; the LF of a CRLF pair is not a second line end.
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = data.split(b"\n")
        self._keep(first)
        for line in rest:
            event = self._line(b"".join(self._tail))
            self._tail.clear()
            self._tail_bytes = 0
            if event is not None:
                yield event
            self._keep(line)

    def close(self) -> SseEvent | None:
        """What the stream had begun and not ended when it closed: None after a clean end."""
        if self._tail_bytes:
            # The blank line is missing, so this cannot complete an event.
            self._line(b"".join(self._tail))
            self._tail.clear()
            self._tail_bytes = 0
        return self._take() if self._data else None

    def _keep(self, part: bytes) -> None:
        if part:
            self._tail.append(part)
            self._tail_bytes += len(part)
            if self._data_bytes + self._tail_bytes > self._max:
                raise self._too_large()

    def _line(self, line: bytes) -> SseEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                return self._take()
            self._kind = ""
            return None
        name, _, value = line.partition(b":")
        if name in (b"data", b"error"):
            self._data_bytes += len(value)
            self._data.append(_text(value))
            if name == b"error":
                self._kind = "error"
        elif name == b"event":
            self._kind = _text(value)
        return None

    def _take(self) -> SseEvent:
        event = SseEvent("\n".join(self._data), self._kind or "message")
        self._data.clear()
        self._data_bytes = 0
        self._kind = ""
        return event

    def _too_large(self) -> MalformedResponseError:
        return MalformedResponseError(
            f"backend {self._backend!r} sent a stream event of more than {self._max} bytes; "
            "check that its base_url is an OpenAI-compatible endpoint",
            backend=self._backend,
            maybe_executed=True,
        )


def _text(value: bytes) -> str:
    return value.removeprefix(b" ").decode("utf-8", "replace")
