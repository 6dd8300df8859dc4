"""Two backends on a failover route, the first of them down: nobody who asks notices, and the status tells."""

from __future__ import annotations

from showcaller import BackendConfig, RouteConfig, Runtime, RuntimeConfig, RuntimeSettings

CONFIG = RuntimeConfig(
    runtime=RuntimeSettings(model="fast", timeout=60.0),
    backends=[
        # Port 9 is the discard service: nothing speaks HTTP there.
        BackendConfig(
            name="remote", backend_type="openai", base_url="http://127.0.0.1:9/v1", model="gpt-5-mini"
        ),
        BackendConfig(name="local", backend_type="embedded", model="smollm2"),
    ],
    routes=[
        RouteConfig(name="fast", routing_strategy="failover", targets=["remote", "local"], allowed_fails=2)
    ],
)


def main() -> None:
    """Ask a few things at once, then say who answered."""
    prompts = [f"Name a colour that begins with {letter}." for letter in "BGPRY"]
    with Runtime.start(CONFIG) as runtime:
        for prompt, outcome in zip(prompts, runtime.ask_many(prompts, max_tokens=16), strict=True):
            response = outcome.unwrap()
            print(f"{prompt}  -- {response.backend}, attempt {response.attempts}: {response.content!r:.60}")
        for backend in runtime.status().backends:
            print(f"{backend.name}: breaker {backend.circuit.value}, restarts {backend.actor.restarts}")


if __name__ == "__main__":
    main()
