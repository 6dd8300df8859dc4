"""Many requests at once, so many at a time; no two of them share an upstream call."""

from __future__ import annotations

import functools
import queue
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress

from attrs import evolve

from showcaller.actors.errors import ConfigurationError, OverloadedError
from showcaller.actors.kernel.context import SLICE, Beats, about_to_wait, forbid_waiting
from showcaller.actors.models import Errored, Outcome
from showcaller.runtime.edge import Edge
from showcaller.runtime.pending import Pending
from showcaller.runtime.prompt import Options, Prompt, as_request


def check_concurrency(max_concurrency: int) -> None:
    """Refuse what is no number of requests at once."""
    if type(max_concurrency) is not int or max_concurrency < 1:
        raise ConfigurationError(f"max_concurrency is {max_concurrency!r}; use a whole number, 1 or more")


def _check_prompts(prompts: Iterable[Prompt]) -> None:
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Iterable):
        kind = type(prompts).__name__
        raise ConfigurationError(f"prompts is a {kind}; give several prompts, such as a list of str")


def _start(edge: Edge, index: int, prompt: Prompt, options: Options) -> Pending | Errored:
    context = options.get("context")
    if context is not None:
        # One context for all of them, and no two open requests of one id.
        own = evolve(context, request_id=f"{context.request_id}-{index + 1}")
        options = {**options, "context": own}
    request = as_request(prompt, options)
    try:
        return edge.accept(request, share=False)[1]
    except OverloadedError as error:
        return Errored("", error)


def _outcome(started: Pending | Errored) -> Outcome:
    if isinstance(started, Errored):
        return started
    assert started.outcome is not None
    return started.outcome


def _wait_for_one(done: queue.SimpleQueue[None]) -> None:
    left = about_to_wait("Runtime.ask_many()", lambda: not done.empty(), None)
    while True:
        with suppress(queue.Empty):
            return done.get(timeout=SLICE if left is None else left)


def ask_many(edge: Edge, prompts: Iterable[Prompt], options: Options, max_concurrency: int) -> list[Outcome]:
    """One Outcome for each prompt, in their order; see Runtime.ask_many."""
    _check_prompts(prompts)
    check_concurrency(max_concurrency)
    forbid_waiting("Runtime.ask_many()")
    # A queue in C: an interrupt inside a Semaphore's Python would leave it locked for those who complete.
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    started: list[Pending | Errored] = []
    under_way = 0
    try:
        for index, prompt in enumerate(prompts):
            if under_way == max_concurrency:
                _wait_for_one(done)
                under_way -= 1
            one = _start(edge, index, prompt, options)
            started.append(one)
            if isinstance(one, Pending):
                under_way += 1
                one.when_done(lambda: done.put(None))
        for _ in range(under_way):
            _wait_for_one(done)
    except BaseException:
        for one in started:
            if isinstance(one, Pending):
                one.cancel()
        raise
    return [_outcome(one) for one in started]


async def ask_many_async(
    edge: Edge, prompts: Iterable[Prompt], options: Options, max_concurrency: int
) -> AsyncGenerator[tuple[int, Outcome], None]:
    """The place of each prompt and its Outcome, as they complete; see Runtime.ask_many_async."""
    import asyncio  # slow to import, and needed by few

    _check_prompts(prompts)
    check_concurrency(max_concurrency)
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[int] = asyncio.Queue()
    started: dict[int, Pending | Errored] = {}
    upcoming = enumerate(prompts)

    def start_next() -> bool:
        for index, prompt in upcoming:
            one = started[index] = _start(edge, index, prompt, options)
            if isinstance(one, Pending):
                one.when_done(functools.partial(loop.call_soon_threadsafe, done.put_nowait, index))
            else:
                done.put_nowait(index)
            return True
        return False

    try:
        while len(started) < max_concurrency and start_next():
            pass
        while started:
            await Beats(lambda: not done.empty())
            index = await done.get()
            outcome = _outcome(started.pop(index))
            start_next()
            yield index, outcome
    finally:
        for one in started.values():
            if isinstance(one, Pending):
                one.cancel()
