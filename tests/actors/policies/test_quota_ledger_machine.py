"""The ledger under everything that can be done with it, in any order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.policies.quota_ledger import DAY, HOUR, QuotaLedger
from tests.actors.policies.ledgers import ROUNDING, limits

gaps = st.floats(0.0, 5.0) | st.floats(0.0, 2000.0)


class LedgerMachine(RuleBasedStateMachine):
    """Reservations are made, settled and refunded in any order, while the clock runs, stumbles and runs on."""

    @initialize(limits=limits, start=st.floats(0.0, 2 * DAY))
    def begin(self, limits, start):
        self.ledger, self.limits = QuotaLedger(limits), limits
        self.now = self.furthest = start
        self.passed = 0.0
        self.keys = 0
        self.open, self.spent = {}, []
        self.granted = self.settled = self.refunded = 0

    @rule(seconds=gaps)
    def time_passes(self, seconds):
        self.now += seconds
        # What the clock counts twice has passed once.
        self.passed += max(0.0, self.now - self.furthest)
        self.furthest = max(self.furthest, self.now)

    @rule(seconds=st.floats(0.0, 50.0))
    def the_clock_is_set_back(self, seconds):
        self.now = max(self.now - seconds, self.furthest - 50.0, 0.0)

    @rule(share=st.floats(0.0, 1.0))
    def reserve(self, share):
        tokens = round(share * (self.limits.tpm or 50))
        self.keys += 1
        refusal = self.ledger.reserve(self.keys, tokens, self.now)
        if refusal is not None:
            assert refusal.not_before > self.now - ROUNDING
            return
        self.granted += 1
        self.open[self.keys] = [self.furthest, self.passed, tokens]
        self.spent.append(self.open[self.keys])

    @rule()
    def reserve_a_lot(self):
        for _ in range(5):
            self.reserve(0.1)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def reserve_again(self, data):
        key = data.draw(st.sampled_from(list(self.open)))
        before = self.ledger.remaining(self.now)
        assert self.ledger.reserve(key, 100, self.now) is None
        assert self.ledger.remaining(self.now) == before

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.floats(0.0, 1.0))
    def settle(self, data, share):
        key = data.draw(st.sampled_from(list(self.open)))
        entry = self.open.pop(key)
        entry[2] = round(entry[2] * share)
        self.settled += 1
        self.ledger.settle(key, entry[2], self.now)
        self.end_again(key)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def refund(self, data):
        key = data.draw(st.sampled_from(list(self.open)))
        returned = self.open.pop(key)
        self.spent = [entry for entry in self.spent if entry is not returned]
        self.refunded += 1
        self.ledger.refund(key, self.now)
        self.end_again(key)

    def end_again(self, key):
        before = self.ledger.remaining(self.now)
        self.ledger.settle(key, 0, self.now)
        self.ledger.refund(key, self.now)
        self.ledger.refund("never reserved", self.now)
        assert self.ledger.remaining(self.now) == before

    @invariant()
    def every_reservation_is_accounted_for(self):
        assert self.ledger.outstanding == len(self.open)
        assert self.granted == self.settled + self.refunded + self.ledger.outstanding

    @invariant()
    def no_hour_and_no_day_is_overspent(self):
        for limit, seconds in (
            (self.limits.requests_per_hour, HOUR),
            (self.limits.requests_per_day, DAY),
        ):
            windows = [at // seconds for at, _, _ in self.spent]
            assert limit is None or all(windows.count(window) <= limit for window in windows)

    @invariant()
    def no_stretch_of_time_sees_more_than_burst_and_rate(self):
        for limit, amounts in (
            (self.limits.rpm, [1] * len(self.spent)),
            (self.limits.tpm, [tokens for _, _, tokens in self.spent]),
        ):
            for first in range(len(self.spent) if limit else 0):
                total = 0
                for last in range(first, len(self.spent)):
                    total += amounts[last]
                    seconds = self.spent[last][1] - self.spent[first][1]
                    assert total <= limit + limit / 60 * seconds + ROUNDING

    @invariant()
    def what_is_left_is_between_nothing_and_the_limit(self):
        for name, left in self.ledger.remaining(self.now).items():
            assert 0 <= left <= getattr(self.limits, name)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(TestLedger.settings, max_examples=150, stateful_step_count=40)
