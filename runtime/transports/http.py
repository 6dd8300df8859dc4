"""The OpenAI-compatible transport: one attempt is one POST to `<base_url>/chat/completions`.

It never follows a redirect, and repeats nothing but what was refused with a credential that has been renewed
since; it turns bytes into events and every failure into one error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from attrs import evolve

from showcaller.actors.content_text import text_of
from showcaller.actors.errors import BackendError, BackendUnreachableError, ShowcallerError
from showcaller.actors.secrets import Secret
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Sent, TransportEvent
from showcaller.runtime.transports.http_endpoint import ApiKey, HttpEndpoint
from showcaller.runtime.transports.http_exchange import Exchange
from showcaller.runtime.wire.chat import Reading, RequestBody, decode_completion
from showcaller.runtime.wire.chat_stream import StreamAccumulator
from showcaller.runtime.wire.failures import failure
from showcaller.runtime.wire.sse import SseDecoder

USAGE_SECONDS: Final = 2.0
"""How long a stream's usage and end may take after its finish_reason; the answer is whole without them."""


class _RenewedError(Exception):
    """The credential was refused, and there is another now."""


class HttpTransport:
    """Attempts at one model of one OpenAI-compatible endpoint.

    Args:
        base_url: up to and without /chat/completions.
        model: the model's name as the endpoint knows it.
        now: seconds of the clock that deadlines are given in.
        wall: seconds since the epoch, for dates in headers.
        api_key: the credential, or what gives it (None for none); called at each attempt on the thread that
            pulls it.
        auth_header: the header that carries the credential.
        auth_scheme: the word before it; empty for none.
        headers: further headers.
        pool_size: connections at most.
        ca_bundle: a file or folder of certificates to trust in place of the usual ones.

    Raises:
        ConfigurationError: the URL, a header or the bundle cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        now: Callable[[], float],
        wall: Callable[[], float],
        api_key: ApiKey = lambda: None,
        auth_header: str = "Authorization",
        auth_scheme: str = "Bearer",
        headers: Mapping[str, str | Secret] | None = None,
        pool_size: int = 64,
        ca_bundle: str | None = None,
    ) -> None:
        endpoint = HttpEndpoint(
            base_url=base_url,
            api_key=api_key,
            auth_header=auth_header,
            auth_scheme=auth_scheme,
            headers=headers,
            pool_size=pool_size,
            ca_bundle=ca_bundle,
        )
        self._open(endpoint, model, now, wall)

    def _open(
        self, endpoint: HttpEndpoint, model: str, now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._body = RequestBody.for_model(model)
        self._now = now
        self._wall = wall
        self._lock = threading.Lock()
        self._exchanges: set[Exchange] = set()
        self._closed = False

    def for_model(self, model: str, *, pool_size: int = 0) -> HttpTransport:
        """A transport for another model of this endpoint, on the same connections; each closes by itself.

        Args:
            model: the model's name as the endpoint knows it.
            pool_size: how many connections more there may be for the two together.

        Raises:
            ConnectionError: all transports of the endpoint have been closed.
        """
        self._endpoint.share(pool_size)
        twin = HttpTransport.__new__(HttpTransport)
        twin._open(self._endpoint, model, self._now, self._wall)
        return twin

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Carry out one attempt; see `showcaller.actors.transport.Transport`.

        A credential that was refused with 401 is renewed where it comes from, once, and the request repeated
        when there is another; that is a part of the same attempt, and of its deadline.
        """
        renewed = yield from self._carry_out(attempt, again=False)
        if renewed:
            yield from self._carry_out(attempt, again=True)

    def _carry_out(self, attempt: Attempt, *, again: bool) -> Generator[TransportEvent, None, bool]:
        """One request; True, and no last event, when it is to be repeated with another credential."""
        exchange = Exchange(self._endpoint, attempt, self._now)
        last: Done | Failed
        try:
            try:
                self._enter(exchange, attempt)
                last = yield from self._events(exchange, attempt, again=again)
            except _RenewedError:
                return True
            except ShowcallerError as error:
                # Its frames hold the request's bytes, and with them the credential.
                error.__traceback__ = error.__cause__ = error.__context__ = None
                last = Failed(error)
            if exchange.complete or not exchange.sound:
                exchange.end()
            yield last
            return False
        finally:
            exchange.end()
            with self._lock:
                self._exchanges.discard(exchange)

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Ask for the list of models, which costs nothing; see `showcaller.actors.probe.Probing`."""
        exchange = Exchange(self._endpoint, attempt, self._now)
        try:
            self._enter(exchange, attempt)
            yield from self._look(exchange, attempt)
        except ShowcallerError as error:
            # Its frames hold the credential.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            yield Failed(error)
        finally:
            exchange.end()
            with self._lock:
                self._exchanges.discard(exchange)

    @property
    def closed(self) -> bool:
        """Was it closed?"""
        return self._closed

    def close(self) -> None:
        """Fail what is in flight and free the connections. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.abandon()
        self._endpoint.leave()

    def _enter(self, exchange: Exchange, attempt: Attempt) -> None:
        with self._lock:
            if not self._closed:
                self._exchanges.add(exchange)
                return
        raise BackendUnreachableError(
            f"backend {attempt.backend!r} has been closed; add it again to use it", backend=attempt.backend
        )

    def _events(
        self, exchange: Exchange, attempt: Attempt, *, again: bool
    ) -> Generator[TransportEvent, None, Done]:
        head, secrets = self._endpoint.head(attempt.backend)
        body = self._body.assemble(attempt.payload, stream=attempt.stream)
        exchange.connect()
        if not again:
            yield Sent()
        exchange.send(b"".join((head, b"Content-Length: %d\r\n\r\n" % len(body), body)))
        del head, body
        exchange.receive_head()
        response = exchange.response
        if not 200 <= response.status < 300:
            error = self._failure(exchange, attempt, secrets)
            if response.status == 401 and not again:
                # Its connection is free while a command, perhaps, is asked for the credential.
                exchange.end()
                if self._endpoint.renew(secrets, self._now()):
                    raise _RenewedError
            raise error
        reading = Reading(
            backend=attempt.backend,
            model=self._model,
            payload_bytes=len(attempt.payload),
            now=self._wall(),
            secrets=secrets,
        )
        if not attempt.stream:
            done = decode_completion(exchange.read_all(), reading)
        elif "json" in response.getheader("content-type", "").lower():
            # Some servers ignore `stream`, and some report an error in this way.
            exchange.answering()
            done = evolve(decode_completion(exchange.read_all(), reading), raw=None)
            yield Chunk(text_of(done.message.get("content")), done.message)
        else:
            done = yield from self._chunks(exchange, attempt, reading)
        exchange.sound = True
        return done

    def _look(self, exchange: Exchange, attempt: Attempt) -> Iterator[TransportEvent]:
        head, secrets = self._endpoint.head(attempt.backend, probe=True)
        exchange.connect()
        yield Sent()
        exchange.send(b"".join((head, b"\r\n")))
        del head
        exchange.receive_head()
        if not 200 <= exchange.response.status < 300:
            raise self._failure(exchange, attempt, secrets)
        exchange.answering()
        while exchange.read():
            continue
        exchange.sound = True

    def _failure(self, exchange: Exchange, attempt: Attempt, secrets: tuple[str, ...]) -> BackendError:
        headers = {name.lower(): value for name, value in exchange.response.headers.items()}
        exchange.answering()
        body = exchange.read_error()
        exchange.sound = exchange.complete
        return failure(
            exchange.response.status,
            headers,
            body,
            backend=attempt.backend,
            now=self._wall(),
            secrets=secrets,
        )

    def _chunks(
        self, exchange: Exchange, attempt: Attempt, reading: Reading
    ) -> Generator[TransportEvent, None, Done]:
        decoder = SseDecoder(backend=attempt.backend)
        answer = StreamAccumulator(reading)
        while not answer.ended:
            if answer.complete:
                exchange.end_within(USAGE_SECONDS)
            try:
                piece = exchange.read()
            except BackendError:
                # Whatever befalls the connection after the last word, the answer is whole.
                if not answer.complete or exchange.given_up:
                    raise
                break
            if not piece:
                return answer.finish(decoder.close())
            for event in decoder.feed(piece):
                exchange.answering()
                chunk = answer.feed(event)
                if chunk is not None:
                    yield chunk
                    exchange.check()
        return answer.finish()
