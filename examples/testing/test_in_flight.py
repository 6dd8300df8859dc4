"""A property that holds whatever goes wrong: the local model is never asked three things at once."""

from hypothesis import given, settings

from showcaller.testing import Scenario, scenarios


@settings(deadline=None)  # seconds of this computer, which are not the subject
@given(scenarios("showcaller.toml"))
def test_never_more_than_two_in_flight_on_local(scenario: Scenario) -> None:
    assert scenario.run().max_in_flight("local") <= 2
