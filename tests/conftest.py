"""Settings for all tests: Hypothesis without a deadline, because a busy machine is no bug."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("showcaller", deadline=None, print_blob=True)
settings.load_profile("showcaller")
