"""The whole tree in deterministic simulation: seeded schedule, virtual time, faults, invariants."""
