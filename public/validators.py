"""`showcaller.validators`: what `validators=[...]` of a request may hold, beside any function of a BackendResponse."""

from __future__ import annotations

from showcaller.actors.response_validators import finish_reason, is_json, json_schema, matches, non_empty

__all__ = ["finish_reason", "is_json", "json_schema", "matches", "non_empty"]
