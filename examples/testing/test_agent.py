"""An agent's loop against the real runtime in virtual time: it finishes, although things break under it."""

import pytest

from showcaller import Runtime
from showcaller.testing import Simulation, assert_invariants, faults


def plan_a_journey(runtime: Runtime, steps: int) -> list[str]:
    """The agent under test: each step depends on the one before."""
    conversation = [{"role": "user", "content": "Plan a journey to the sea."}]
    for step in range(steps):
        response = runtime.ask(conversation, timeout=30)
        conversation += [dict(response.message), {"role": "user", "content": f"And step {step + 2}?"}]
    sights = [runtime.submit(f"What is to be seen on day {day}?", timeout=30) for day in range(5)]
    return [pending.result().content for pending in sights]


@pytest.mark.showcaller_seeds(10)
def test_the_agent_finishes_its_plan() -> None:
    with Simulation("showcaller.toml") as sim:
        sim.at(3, faults.crash("supervisor"))
        sim.at(5, faults.errors("openai", "rate_limit", duration=10, retry_after=5))
        sim.at(9, faults.crash("groq", "on_execute", after=True))

        sights = plan_a_journey(sim.runtime, steps=20)
        sim.runtime.backends.drain("groq", timeout=10)
        last_word = sim.runtime.ask("Sum it up.", timeout=30)

        report = sim.run()
    assert len(sights) == 5
    assert last_word.backend != "groq"
    assert report.restarts["supervisor"] == 1
    assert_invariants(report)
