"""Which request each call of a simulated backend was made for, and the reports of both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from showcaller.actors.configuration import RuntimeConfig
from showcaller.runtime.testing.attempt_report import AttemptReport
from showcaller.runtime.testing.backend import Served
from showcaller.runtime.testing.client import Sent
from showcaller.runtime.testing.request_report import RequestReport


def report_calls(
    sent: Sequence[Sent], served: Iterable[Served], configs: Sequence[RuntimeConfig]
) -> tuple[tuple[RequestReport, ...], tuple[AttemptReport, ...]]:
    """The reports, requests in their order and attempts in the order of their beginnings.

    Args:
        sent: what the clients sent.
        served: what the backends were asked.
        configs: what may say which route a request's model stands for; the first that does.
    """
    calls = sorted(served, key=lambda call: call.started)
    senders = _senders(sent, calls)
    counts = Counter(senders)
    requests = tuple(
        RequestReport.of(one, configs, attempts=counts[number]) for number, one in enumerate(sent)
    )
    return requests, tuple(
        AttemptReport.of(call, None if number is None else requests[number])
        for call, number in zip(calls, senders, strict=True)
    )


def _senders(sent: Sequence[Sent], calls: Iterable[Served]) -> list[int | None]:
    """The place of each call's request. An id may be used again once its request has ended."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(sent):
        if one.request_id:
            places[one.request_id].append(number)
    return [
        next(
            (
                number
                for number in reversed(places.get(call.request_id, ()))
                if sent[number].submitted <= call.started
            ),
            None,
        )
        for call in calls
    ]
