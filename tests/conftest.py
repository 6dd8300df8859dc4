"""Settings for all tests: no Hypothesis deadline, because a busy machine is no bug; and interrupts are heard.

A shell that starts the tests in the background lets them ignore SIGINT, and so would every program they start.
"""

from __future__ import annotations

import signal

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("showcaller", deadline=None, print_blob=True)
settings.load_profile("showcaller")
