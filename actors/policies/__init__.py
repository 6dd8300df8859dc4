"""Pure state machines: `now` and `rng` are arguments, decisions are return values."""
