"""A price as a number: the model may talk, and may be asked again, until its answer is what the program needs."""

from showcaller import BackendResponse, Runtime
from showcaller.validators import finish_reason, json_schema

SCHEMA = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}


def plausible(response: BackendResponse) -> str | None:
    """A validator of one's own: the reason why not, or None."""
    return None if 0 < response.parsed["price"] < 1000 else "no coffee costs that"


with Runtime.start() as runtime:
    response = runtime.ask(
        'What does a coffee cost? Answer as JSON: {"price": ...}',
        transforms=["extract_json"],
        validators=[finish_reason("stop"), json_schema(SCHEMA), plausible],
        timeout=60,
    )
    print(response.parsed["price"], "after", response.attempts, "attempts")
