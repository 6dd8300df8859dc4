"""The calls: every way to send a request, for threads and for asyncio."""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Unpack

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.models import BackendResponse, Errored, Outcome
from showcaller.actors.policies.request_batcher import MAX_PENDING
from showcaller.runtime.batcher import Batcher
from showcaller.runtime.batchers import Batchers
from showcaller.runtime.edge import Edge
from showcaller.runtime.many import ask_many, ask_many_async
from showcaller.runtime.pending import Pending
from showcaller.runtime.prompt import Options, Prompt, as_request
from showcaller.runtime.streams import AsyncChatStream, ChatStream


class Calls:
    """What a user sends requests with; each call ends at the edge.

    Args:
        edge: takes requests in, and knows those that are open.
        batchers: makes batchers, and ends them.
        finalizers: cancels streams that are dropped.
    """

    def __init__(self, edge: Edge, batchers: Batchers, finalizers: Workers) -> None:
        self._edge = edge
        self._batchers = batchers
        self._finalizers = finalizers

    def ask(self, prompt: Prompt, **options: Unpack[Options]) -> BackendResponse:
        """Ask and wait for the answer.

        Args:
            prompt: a str, OpenAI-style messages, or a ChatRequest.
            options: fields of ChatRequest: model, timeout, tools, response_format, temperature, ...

        Raises:
            ShowcallerError: it was refused, or failed.
        """
        pending = self.submit(prompt, **options)
        try:
            return pending.result()
        except concurrent.futures.CancelledError:
            assert isinstance(pending.outcome, Errored)
            raise pending.outcome.error from None
        except BaseException:
            pending.cancel()
            raise

    def submit(self, prompt: Prompt, **options: Unpack[Options]) -> Pending:
        """Ask and go on: a concurrent.futures.Future that is also awaitable.

        Raises:
            ShowcallerError: it was refused at the door.
        """
        return self._edge.accept(as_request(prompt, options))[1]

    def tell(
        self,
        prompt: Prompt,
        *,
        on_outcome: Callable[[Outcome], object] | None = None,
        **options: Unpack[Options],
    ) -> str:
        """Ask and forget; the request's id.

        Args:
            prompt: as for `ask`.
            on_outcome: called with the outcome on a callback thread.
            options: as for `ask`.

        Raises:
            ShowcallerError: it was refused at the door.
        """
        if on_outcome is not None and not callable(on_outcome):
            raise ConfigurationError(f"on_outcome = {on_outcome!r}: give a function of an Outcome, or None")
        return self._edge.accept(as_request(prompt, options), on_outcome=on_outcome)[1].request_id

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> ChatStream:
        """Ask and read the answer as it comes; leaving the `with` block cancels upstream.

        Raises:
            ShowcallerError: it was refused at the door.
        """
        return ChatStream(*self._edge.accept(as_request(prompt, options), stream=True), self._finalizers)

    def ask_many(
        self, prompts: Iterable[Prompt], *, max_concurrency: int = 32, **options: Unpack[Options]
    ) -> list[Outcome]:
        """Ask many things; one Outcome for each, in the order of the prompts.

        Args:
            prompts: as for `ask`.
            max_concurrency: so many are under way at once.
            options: as for `ask`, for all of them; a `timeout` counts for each from its own start.

        Raises:
            ConfigurationError: a prompt or an option is wrong.
            RuntimeStoppedError: the runtime has stopped.
        """
        return ask_many(self._edge, prompts, options, max_concurrency)

    def batcher(
        self,
        *,
        max_size: int = 10,
        max_wait: float = 5.0,
        max_concurrency: int = 32,
        max_pending: int = MAX_PENDING,
        **options: Unpack[Options],
    ) -> Batcher:
        """Collect requests that come one by one: `with runtime.batcher() as batcher: batcher.add(prompt)`.

        Args:
            max_size: so many are a batch, and leave together.
            max_wait: seconds after which the oldest leaves with those that are there.
            max_concurrency: so many of all batches are under way at once.
            max_pending: so many may wait to be sent; `add` refuses what is more.
            options: as for `ask`, for all of them.

        Raises:
            ConfigurationError: one of the numbers is wrong.
        """
        return self._batchers.make(
            max_size=max_size,
            max_wait=max_wait,
            max_concurrency=max_concurrency,
            max_pending=max_pending,
            options=options,
        )

    async def ask_async(self, prompt: Prompt, **options: Unpack[Options]) -> BackendResponse:
        """Ask from asyncio; cancelling the task cancels upstream.

        Raises:
            ShowcallerError: it was refused, or failed.
        """
        import asyncio  # slow to import, and needed by few

        pending = self.submit(prompt, **options)
        try:
            return await pending
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if isinstance(pending.outcome, Errored) and task is not None and not task.cancelling():
                # Not this task was cancelled, but its request, by `cancel(request_id)`.
                raise pending.outcome.error from None
            raise

    def stream_async(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncChatStream:
        """Stream from asyncio: `async with runtime.stream_async(...) as stream: async for chunk in stream`.

        Raises:
            ShowcallerError: it was refused at the door.
        """
        return AsyncChatStream(*self._edge.accept(as_request(prompt, options), stream=True), self._finalizers)

    def ask_many_async(
        self, prompts: Iterable[Prompt], *, max_concurrency: int = 32, **options: Unpack[Options]
    ) -> AsyncGenerator[tuple[int, Outcome], None]:
        """Ask many things from asyncio: the place of each prompt and its Outcome, as they complete.

        Raises:
            ConfigurationError: a prompt or an option is wrong.
            RuntimeStoppedError: the runtime has stopped.
        """
        return ask_many_async(self._edge, prompts, options, max_concurrency)

    def cancel(self, request_id: str) -> bool:
        """Give a request up, upstream too; False when it is not open."""
        return self._edge.cancel(request_id)
