"""What was found not to hold: short sentences, each kind once for each subject."""

from __future__ import annotations

from showcaller.runtime.testing.clock import START, VirtualClock

MOST = 200
"""So many are kept: what is broken once is often broken everywhere."""


class Findings:
    """A list of violations.

    Args:
        clock: says when each was found.

    Attributes:
        violations: the sentences, in the order of their finding.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.violations: list[str] = []
        self._clock = clock
        self._known: set[tuple[str, str]] = set()

    def say(self, kind: str, subject: str, text: str) -> None:
        """Something does not hold.

        Args:
            kind: which invariant, for nothing but to say it once for each subject.
            subject: of which request, backend or actor.
            text: the sentence, without its time.
        """
        if (kind, subject) in self._known or len(self.violations) >= MOST:
            return
        self._known.add((kind, subject))
        self.violations.append(f"{subject}: {text}, at {self._clock.now() - START:.3f} s")
