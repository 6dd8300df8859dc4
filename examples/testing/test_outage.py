"""The first provider is away for two of ten minutes: nearly nobody notices, and nobody waits for long."""

from showcaller.testing import Simulation, assert_invariants, faults


def test_my_config_survives_an_outage() -> None:
    with Simulation("showcaller.toml", seed=7) as sim:
        sim.traffic(rate=5, duration=600)  # virtual seconds
        sim.at(60, faults.outage("openai", duration=120))
        report = sim.run()
    assert report.success_rate > 0.999
    assert report.p99("latency") < 4.0
    assert report.share()["groq"] > 0.15
    assert_invariants(report)
