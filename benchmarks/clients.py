"""The ways to make a call, each in the form its users would write it.

A client is opened for a number of callers and gives each of them a function that makes one whole call:
encode the body, send it, decode the answer, return its text.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial

import requests
from requests.adapters import HTTPAdapter

from benchmarks.completion import HEADERS, PATH, content_of, payload

Call = Callable[[], str]
Client = Callable[[int, int], AbstractContextManager[Sequence[Call]]]
"""Opens itself for a port and a number of callers."""

TIMEOUT = 30.0


@contextmanager
def bare_post(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """`requests.post`: a new connection for each call."""
    yield [partial(_post, requests.post, port)] * callers


@contextmanager
def session(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """A `requests.Session` for each caller."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(requests.Session()) for _ in range(callers)]
        yield [partial(_post, each.post, port) for each in sessions]


@contextmanager
def session_without_environment(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """The same, without looking into the environment for proxies and credentials at each call."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(requests.Session()) for _ in range(callers)]
        for each in sessions:
            each.trust_env = False
        yield [partial(_post, each.post, port) for each in sessions]


@contextmanager
def prepared_send(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """A prepared request through one `HTTPAdapter` that all callers share."""
    template = requests.Request("POST", _url(port), headers=HEADERS).prepare()
    with closing(HTTPAdapter(pool_connections=1, pool_maxsize=callers)) as adapter:

        def call() -> str:
            request = template.copy()
            request.prepare_body(json.dumps(payload()).encode(), None)
            response = adapter.send(request, timeout=TIMEOUT)
            response.raise_for_status()
            return content_of(response.json())

        yield [call] * callers


@contextmanager
def standard_library(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """An `http.client.HTTPConnection` for each caller: about the least that Python can do."""

    def call(connection: http.client.HTTPConnection) -> str:
        connection.request("POST", PATH, json.dumps(payload()).encode(), HEADERS)
        return content_of(json.loads(connection.getresponse().read()))

    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)))
            for _ in range(callers)
        ]
        yield [partial(call, each) for each in connections]


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}{PATH}"


def _post(post: Callable[..., requests.Response], port: int) -> str:
    response = post(_url(port), json=payload(), headers=HEADERS, timeout=TIMEOUT)
    response.raise_for_status()
    return content_of(response.json())
