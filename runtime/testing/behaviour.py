"""How a simulated backend answers as long as nothing is wrong with it."""

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen

from showcaller.actors.enums import BackendType
from showcaller.actors.validators import refuse, whole
from showcaller.runtime.testing.distributions import Constant, Distribution, Lognormal, Scaled


def _check_tokens(behaviour: object, attribute: object, value: Any) -> None:
    if not (isinstance(value, tuple) and len(value) == 2 and 1 <= value[0] <= value[1]):
        raise refuse("Behaviour", "answer_tokens", value, "use the least and the most, such as (10, 120)")


@frozen(kw_only=True)
class Behaviour:
    """Durations in seconds, lengths in tokens.

    Attributes:
        connect: until the connection stands.
        first_token: from sending to the first token.
        token_interval: between two tokens; drawn once for an answer.
        answer_tokens: the least and the most; a request's max_tokens ends it earlier.
        context_window: a longer prompt is refused; None: never.
        most_chunks: a stream has at most so many, of equal size.
    """

    connect: Distribution = field(default=Constant(0.005))
    first_token: Distribution = field(default=Lognormal(0.4, 0.4))
    token_interval: Distribution = field(default=Constant(0.01))
    answer_tokens: tuple[int, int] = field(default=(10, 120), validator=_check_tokens)
    context_window: int | None = field(
        default=None, validator=whole("use a number of tokens, 1 or more, or None", least=1, none=True)
    )
    most_chunks: int = field(default=8, validator=whole("use a number of chunks, 1 or more", least=1))

    def slower(self, factor: float) -> Behaviour:
        """The same with every token so many times as slow."""
        return evolve(
            self,
            first_token=Scaled(self.first_token, factor),
            token_interval=Scaled(self.token_interval, factor),
        )

    @classmethod
    def of_type(cls, backend_type: BackendType) -> Behaviour:
        """What a backend of that type does when nothing else is said."""
        return _BY_TYPE.get(backend_type, _HTTP)


_HTTP = Behaviour()
_BY_TYPE = {
    BackendType.EMBEDDED: Behaviour(
        connect=Constant(0.0),
        first_token=Lognormal(0.15, 0.3),
        token_interval=Constant(0.018),
        answer_tokens=(10, 60),
    ),
    BackendType.COPILOT_CLI: Behaviour(connect=Constant(1.2), first_token=Lognormal(2.0, 0.4)),
    BackendType.GH_COPILOT: Behaviour(connect=Constant(1.2), first_token=Lognormal(2.0, 0.4)),
}
