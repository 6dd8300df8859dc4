"""The circuit breaker: nothing to an open one, few probes to a half-open one, and no word from the past."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.enums import CircuitState
from showcaller.actors.policies.circuit_breaker import BreakerSettings, CircuitBreaker

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

ROUNDING = 1e-6
"""Seconds; times are sums of floats."""

all_settings = st.builds(
    BreakerSettings,
    failures=st.integers(1, 12),
    failure_rate=st.sampled_from([0.1, 0.5, 0.75, 1.0]),
    min_results=st.integers(1, 12),
    window=st.floats(1.0, 60.0),
    open_time=st.floats(0.1, 50.0),
    max_open_time=st.floats(0.1, 400.0),
    jitter=st.floats(0.0, 1.0),
    probes=st.integers(1, 3),
)


def bounds(settings, opened):
    """The least and the most seconds of the stay in OPEN that follows so many others."""
    longest = max(settings.open_time, settings.max_open_time)
    least = min(longest, settings.open_time * 2**opened)
    return least - ROUNDING, least * (1 + settings.jitter) + ROUNDING


def fails_in_a_row(model):
    """Were the last results failures, and so many as are allowed?"""
    last = model.results[-model.settings.failures :]
    return len(last) == model.settings.failures and not any(succeeded for _, succeeded in last)


def fails_too_often(model):
    """Is the share of failures in the window too great? A tenth of the window is the grain of its time."""
    per_tenth = 10 / model.settings.window
    newest = int(model.now * per_tenth)
    counted = [ok for at, ok in model.results if newest - int(at * per_tenth) < 10]
    enough = len(counted) >= model.settings.min_results
    return enough and counted.count(False) >= model.settings.failure_rate * len(counted)


def opened_breaker(now=0.0, **fields):
    breaker = CircuitBreaker(BreakerSettings(failures=1, **fields), rng=random.Random(1))
    breaker.record_failure(breaker.admit(now), now)
    return breaker


class BreakerMachine(RuleBasedStateMachine):
    """Attempts come and go in any order; a model of few words says what the breaker must be."""

    @initialize(settings=all_settings, seed=st.integers())
    def begin(self, settings, seed):
        self.settings = settings
        self.breaker = CircuitBreaker(settings, rng=random.Random(seed))
        self.now = 0.0
        self.state, self.opened = CLOSED, 0
        self.results = []
        self.opened_at = 0.0
        self.out, self.stale = [], []

    def leave_for(self, state):
        self.state, self.results = state, []
        self.stale += self.out
        self.out = []

    def open(self):
        least, most = bounds(self.settings, self.opened)
        self.leave_for(OPEN)
        self.opened += 1
        assert least <= self.breaker.open_until - self.now <= most
        self.opened_at = self.now

    @rule(seconds=st.floats(0.0, 30.0))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.state is OPEN)
    @rule()
    def wait_until_it_is_time(self):
        self.now = max(self.now, self.breaker.open_until)

    @rule()
    def admit(self):
        if self.breaker.is_open(self.now):
            epoch = self.breaker.epoch
            with pytest.raises(ValueError, match="is open"):
                self.breaker.admit(self.now)
            assert self.breaker.epoch == epoch
            return
        if self.state is OPEN:
            least, _ = bounds(self.settings, self.opened - 1)
            assert self.now >= self.opened_at + least
            self.leave_for(HALF_OPEN)
        self.out.append(self.breaker.admit(self.now))
        if self.state is HALF_OPEN:
            assert len(self.out) <= self.settings.probes

    @precondition(lambda self: self.out)
    @rule()
    def succeed(self):
        self.breaker.record_success(self.out.pop(), self.now)
        self.results.append((self.now, True))
        if self.state is HALF_OPEN:
            self.opened = 0
            self.leave_for(CLOSED)

    @precondition(lambda self: self.out)
    @rule()
    def fail(self):
        self.breaker.record_failure(self.out.pop(), self.now)
        self.results.append((self.now, False))
        if self.state is HALF_OPEN or fails_in_a_row(self) or fails_too_often(self):
            self.open()

    @precondition(lambda self: self.state is CLOSED)
    @rule(words=st.lists(st.booleans(), max_size=12), seconds=st.floats(0.0, 5.0))
    def have_a_spell(self, words, seconds):
        for succeeds in words:
            self.now += seconds
            if self.state is CLOSED:
                self.admit()
                (self.succeed if succeeds else self.fail)()

    @precondition(lambda self: self.out)
    @rule()
    def abandon(self):
        self.breaker.release(self.out.pop())

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def hear_from_the_past(self, data):
        epoch = self.stale.pop()
        before = copy.deepcopy({**vars(self.breaker), "_rng": None})
        word = data.draw(st.sampled_from(["success", "failure", "release"]))
        if word == "success":
            self.breaker.record_success(epoch, self.now)
        elif word == "failure":
            self.breaker.record_failure(epoch, self.now)
        else:
            self.breaker.release(epoch)
        assert {**vars(self.breaker), "_rng": None} == before

    @invariant()
    def it_is_what_the_model_says(self):
        waiting = self.state is OPEN and self.now < self.breaker.open_until
        full = self.state is HALF_OPEN and len(self.out) >= self.settings.probes
        shown = OPEN if waiting else HALF_OPEN if self.state is OPEN else self.state
        assert self.breaker.state(self.now) is shown
        assert self.breaker.is_open(self.now) == (waiting or full)
        assert (self.breaker.open_until is None) == (self.state is not OPEN)
        assert all(epoch == self.breaker.epoch for epoch in self.out)


TestBreaker = BreakerMachine.TestCase


@given(all_settings, st.integers(0, 12), st.integers())
def test_the_open_time_doubles_up_to_its_bound(settings, failed_probes, seed):
    """Each failed probe doubles it; jitter only lengthens it."""
    breaker, now = CircuitBreaker(settings, rng=random.Random(seed)), 0.0
    while breaker.open_until is None:
        breaker.record_failure(breaker.admit(now), now)
    for opened in range(failed_probes):
        least, most = bounds(settings, opened)
        assert least <= breaker.open_until - now
        assert breaker.open_until - now <= most
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    least, _ = bounds(settings, failed_probes)
    assert not breaker.is_open(breaker.open_until)
    assert breaker.is_open(now + least * (1 - 1e-6) - ROUNDING)


def test_a_backend_that_stays_away_for_ever_is_probed_for_ever():
    """Thousands of failed probes neither overflow nor lengthen the wait."""
    breaker, now = opened_breaker(jitter=0.0), 0.0
    for _ in range(3000):
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    assert breaker.open_until - now == 300.0


def test_a_closed_breaker_starts_again_from_the_first_open_time():
    """A probe that succeeds ends the doubling."""
    breaker = opened_breaker(jitter=0.0)
    for _ in range(3):
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    now = breaker.open_until
    breaker.record_success(breaker.admit(now), now)
    breaker.record_failure(breaker.admit(now), now)
    assert breaker.open_until == now + 5.0


def test_a_configured_open_time_beyond_the_usual_bound_is_kept():
    """Who asks for ten minutes gets ten minutes."""
    breaker = opened_breaker(open_time=600.0, jitter=0.0)
    assert breaker.open_until == 600.0


def test_an_abandoned_probe_makes_room_for_the_next():
    """Without that a probe that says nothing would keep the breaker shut for ever."""
    breaker = opened_breaker(jitter=0.0)
    probe = breaker.admit(5.0)
    assert breaker.is_open(5.0)
    breaker.release(probe)
    assert not breaker.is_open(5.0)
    breaker.record_success(breaker.admit(5.0), 5.0)
    assert breaker.state(5.0) is CLOSED


def test_an_attempt_that_says_nothing_counts_as_neither_when_closed():
    """Failures in a row stay in a row around it."""
    breaker = CircuitBreaker(BreakerSettings(failures=2), rng=random.Random(1))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    breaker.release(breaker.admit(0.0))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    assert breaker.is_open(0.0)


def spell(word, *, at=0.0, every=0.0, **fields):
    """A breaker after these results (S, F), one every so many seconds, up to the one that opens it; and how many."""
    breaker = CircuitBreaker(BreakerSettings(**fields), rng=random.Random(1))
    for number, letter in enumerate(word):
        now = at + number * every
        if letter == "S":
            breaker.record_success(breaker.admit(now), now)
        else:
            breaker.record_failure(breaker.admit(now), now)
        if breaker.state(now) is OPEN:
            return number + 1
    return None


@pytest.mark.parametrize(
    ("word", "every", "opens_after"),
    [
        ("FFFFF", 0.0, 5),
        ("FFFFSFFFFF", 0.0, 10),
        ("FSFSFSFSFSF", 0.0, 11),
        ("SFSFSFSFSF", 0.0, 10),
        ("FSFSFSFSF", 0.0, None),
        ("SFSSFSSFSSFSSFSSF", 0.0, None),
        ("SSFSFSFSFF", 2.9, 10),
        ("SF" * 30, 3.1, 10),
        ("SF" * 30, 3.4, None),
        ("F" + "S" * 40 + "FSFSFSF", 0.1, None),
    ],
    ids=[
        "five in a row",
        "in a row before it is by share",
        "half of eleven, at a failure",
        "half of ten",
        "nine are too few",
        "a third is too little",
        "all of half a minute",
        "ten at a time in the window",
        "too slow for ten in the window",
        "a bad end of a good spell",
    ],
)
def test_it_opens_by_failures_in_a_row_or_by_their_share(word, every, opens_after):
    """Five in a row, or half of at least ten within half a minute."""
    assert spell(word, every=every) == opens_after


def test_results_that_have_left_the_window_count_no_more():
    """Neither the successes of a good minute nor the failures of a bad one."""
    breaker = CircuitBreaker(BreakerSettings(failures=100), rng=random.Random(1))
    for _ in range(1000):
        breaker.record_success(breaker.admit(0.0), 0.0)
    for _ in range(9):
        breaker.record_failure(breaker.admit(30.0), 30.0)
    assert breaker.state(30.0) is CLOSED
    breaker.record_failure(breaker.admit(60.0), 60.0)
    assert breaker.state(60.0) is CLOSED


def test_what_the_share_is_counted_in_does_not_grow():
    """However many results there are, and however long between them."""
    breaker = CircuitBreaker(BreakerSettings(), rng=random.Random(1))
    for number in range(5000):
        now = number * 0.7 if number < 4000 else number * 50.0
        breaker.record_success(breaker.admit(now), now)
        assert len(breaker._slices) <= 10


def test_a_breaker_that_has_closed_has_forgotten_its_failures():
    """What opened it does not open it again."""
    breaker = CircuitBreaker(BreakerSettings(failures=100, jitter=0.0), rng=random.Random(1))
    for _ in range(10):
        breaker.record_failure(breaker.admit(0.0), 0.0)
    assert breaker.state(0.0) is OPEN
    breaker.record_success(breaker.admit(5.0), 5.0)
    for _ in range(9):
        breaker.record_failure(breaker.admit(5.0), 5.0)
    assert breaker.state(5.0) is CLOSED


def test_somebody_may_let_a_probe_through_early():
    """From then on one is admitted; if it fails, the breaker opens for as long as the first time."""
    settings = BreakerSettings(failures=1, open_time=5.0, jitter=0.0)
    breaker = CircuitBreaker(settings, rng=random.Random(1))
    now = 0.0
    for _ in range(3):
        breaker.record_failure(breaker.admit(now), now)
        now = breaker.open_until
    breaker.record_failure(breaker.admit(now), now)
    assert breaker.open_until == now + 40.0
    breaker.let_probe(now + 1.0)
    assert breaker.state(now + 1.0) is HALF_OPEN
    assert breaker.is_open(now + 0.9)
    breaker.let_probe(now + 2.0)
    breaker.record_failure(breaker.admit(now + 1.0), now + 1.0)
    assert breaker.is_open(now + 1.0)
    assert breaker.open_until == now + 6.0


def test_letting_a_probe_through_changes_nothing_of_one_that_is_not_open():
    """Neither its count of failures nor its probe."""
    breaker = CircuitBreaker(BreakerSettings(failures=2, open_time=5.0, jitter=0.0), rng=random.Random(1))
    epoch = breaker.admit(0.0)
    breaker.record_failure(epoch, 0.0)
    breaker.let_probe(0.0)
    breaker.record_failure(epoch, 0.0)
    assert breaker.state(0.0) is OPEN
    breaker.admit(5.0)
    breaker.let_probe(5.0)
    assert breaker.is_open(5.0)
