"""Tickets that come one by one are classified in groups of four; each has an answer of its own."""

from showcaller import Runtime

TICKETS = ["The invoice is wrong", "I cannot log in", "Where is my parcel?", "Please cancel", "Thank you!"]

with Runtime.start() as runtime:
    with runtime.batcher(max_size=4, max_wait=2.0, max_concurrency=2, timeout=60) as batcher:
        pending = [batcher.add(f"Name the topic of this ticket in one word: {ticket}") for ticket in TICKETS]
    for ticket, one in zip(TICKETS, pending, strict=True):
        print(f"{ticket}: {one.result() if one.outcome.ok else one.outcome.error}")
