"""The ten lines of the README: one answer, one stream, and what the edge has counted."""

from showcaller import BackendConfig, Runtime, RuntimeConfig

config = RuntimeConfig(backends=[BackendConfig(name="local", backend_type="embedded", model="smollm2")])
with Runtime.start(config) as runtime:
    print(runtime.ask("Say hello", max_tokens=16, timeout=60))
    with runtime.stream("Count to five", max_tokens=16) as stream:
        for chunk in stream:
            print(chunk.text, end="", flush=True)
    print("\n", runtime.status().account)
