"""Tickets wait for two threads of our own: the urgent one leaves first, and each has its outcome."""

import threading

from showcaller import Outcome, QueueClosedError, RequestPriority, RequestQueue, Runtime


def work(runtime: Runtime, queue: RequestQueue) -> None:
    """Carry out what waits, until the queue is closed and empty."""
    try:
        while True:
            request = queue.dequeue(timeout=60)
            if request is None:
                continue
            (outcome,) = runtime.ask_many([request.prompt], timeout=60)
            if request.callback is not None:
                request.callback(outcome)
    except QueueClosedError:
        return


def show(outcome: Outcome) -> None:
    """Called by the thread that carried it out."""
    print(outcome.response if outcome.ok else outcome.error)


with Runtime.start() as runtime:
    with RequestQueue(capacity=100) as queue:
        queue.enqueue("Where is my parcel?", callback=show)
        queue.enqueue("Thank you!", priority=RequestPriority.LOW, callback=show)
        queue.enqueue("I was charged twice", priority=RequestPriority.HIGH, callback=show)
        threads = [threading.Thread(target=work, args=(runtime, queue)) for _ in range(2)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
