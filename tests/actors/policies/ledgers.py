"""Limits for tests of the quota ledger, and who spends."""

from __future__ import annotations

from hypothesis import strategies as st

from showcaller.actors.policies.quota_ledger import QuotaLimits

ROUNDING = 1e-6

limits = st.builds(
    QuotaLimits,
    requests_per_hour=st.none() | st.integers(1, 12),
    requests_per_day=st.none() | st.integers(1, 30),
    rpm=st.none() | st.integers(1, 10),
    tpm=st.none() | st.integers(10, 100),
)


def spend(ledger, count, now, tokens=1):
    """Reserve until refused, at most so often; the keys of what was granted."""
    keys = [(now, number) for number in range(count)]
    return [key for key in keys if ledger.reserve(key, tokens, now) is None]
