"""The outbox: settlements are never dropped, observations may be, and both go in batches."""

from __future__ import annotations

import pytest

from showcaller.actors.kernel.address import Address
from showcaller.actors.messages import Observation, Observed, Settle, Settlement
from showcaller.actors.outbox import BATCH, Outbox


class Quota:
    """Takes settlements, or fails to; keeps them batch by batch."""

    def __init__(self):
        self.batches, self.error = [], None

    def tell(self, message):
        if self.error is not None:
            raise self.error
        assert isinstance(message, Settle)
        self.batches.append(message.settlements)


class Observer:
    """Is offered observations; takes them when it can."""

    def __init__(self, takes=True):
        self.offered, self.takes = [], takes

    def offer(self, message):
        assert isinstance(message, Observed)
        self.offered.append(message.observations)
        return self.takes


def settlement(number):
    return Settlement(key=(number, 1), backend="a", tokens=number)


def observation(number):
    return Observation(
        request_id=str(number),
        number=1,
        backend="a",
        slot="backend:a@1",
        at=0.0,
        latency=0.0,
        first_token=None,
        error=None,
        blames_backend=False,
        usage=None,
        payload=b"{}",
        content="",
        metadata={},
    )


def test_everything_goes_in_one_batch_each_in_its_order():
    """The settlements to the quota manager, the observations to every observer."""
    quota, observers = Quota(), [Observer(), Observer()]
    outbox = Outbox(quota, observers)
    settlements, observations = [[make(n) for n in range(3)] for make in (settlement, observation)]
    for one, other in zip(settlements, observations, strict=True):
        outbox.settle(one)
        outbox.observe(other)
    assert len(outbox) == 6
    outbox.flush()
    assert quota.batches == [tuple(settlements)]
    assert [observer.offered for observer in observers] == [[tuple(observations)]] * 2
    assert len(outbox) == 0


def test_nothing_is_sent_when_there_is_nothing():
    """Neither an empty batch nor the last one again."""
    quota, observer = Quota(), Observer()
    outbox = Outbox(quota, [observer])
    outbox.flush()
    outbox.settle(settlement(1))
    outbox.flush()
    outbox.flush()
    assert len(quota.batches) == 1
    assert observer.offered == []


def test_observations_that_are_not_taken_are_dropped():
    """Nothing waits for an observer, and the others get theirs."""
    quota, slow, quick = Quota(), Observer(takes=False), Observer()
    outbox = Outbox(quota, [slow, quick])
    outbox.observe(observation(1))
    outbox.flush()
    assert len(outbox) == 0
    assert len(quick.offered) == 1


def test_settlements_that_could_not_be_sent_are_kept():
    """The next flush, or the next supervisor's, sends them."""
    quota = Quota()
    outbox = Outbox(quota, [])
    quota.error = RuntimeError("no")
    first, second = settlement(1), settlement(2)
    outbox.settle(first)
    with pytest.raises(RuntimeError):
        outbox.flush()
    quota.error = None
    outbox.settle(second)
    outbox.flush()
    assert quota.batches == [(first, second)]


def test_it_is_full_with_a_batch_of_both_together():
    """Then it is sent without waiting for the timer."""
    outbox = Outbox(Quota(), [])
    for number in range(BATCH // 2):
        assert not outbox.is_full
        outbox.settle(settlement(number))
        outbox.observe(observation(number))
    assert outbox.is_full


def test_settlements_wait_for_a_quota_manager_that_is_being_restarted():
    """Between two incarnations its address keeps them; observations are not kept."""
    quota, observer = Address("quota_manager"), Address("recorder")
    outbox = Outbox(quota, [observer])
    owed = settlement(1)
    outbox.settle(owed)
    outbox.observe(observation(1))
    outbox.flush()
    (parked,) = quota.close()
    assert parked.settlements == (owed,)
    assert (observer.lost, observer.close()) == (1, [])
