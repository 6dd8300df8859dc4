"""`showcaller ask`: one prompt, its answer as it comes, and everything else on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from showcaller.actors.enums import BackendType
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.runtime.cli.choice import choose
from showcaller.runtime.cli.download import shown_on
from showcaller.runtime.cli.output import open_screen
from showcaller.runtime.detect import Candidate
from showcaller.runtime.runtime import Runtime

DEMO_TOKENS = 256
"""The demo model tends to go round in circles: its answers end here when nothing was configured."""
DEMO = (
    "no configuration found: the embedded demo model answers. It has 135M parameters, so its answers are poor; "
    f"they end at {DEMO_TOKENS} tokens. For better ones set OPENAI_API_KEY or write a showcaller.toml."
)


def ask(
    text: str,
    *,
    model: str | None,
    system: str | None,
    timeout: float | None,
    transforms: tuple[str, ...],
    as_json: bool,
    path: Path | None,
) -> None:
    """Ask, and write the answer to stdout.

    Raises:
        ConfigurationError: something is wrong before anything was sent.
        ShowcallerError: the request failed.
    """
    messages = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    request = ChatRequest(
        messages if system is not None else text, model=model, timeout=timeout, transforms=transforms
    )
    choice = choose(path, model)
    choice.config.route_for(model)  # a wrong name is told before a model is fetched
    if choice.candidate is not None:
        for one in choice.passed_over:
            click.echo(f"showcaller: {one.name} is passed over: {one.reason}", err=True)
        click.echo(f"showcaller: {_said(choice.candidate)}", err=True)
        if choice.candidate.backend_type is BackendType.EMBEDDED:
            request = attrs.evolve(request, max_tokens=DEMO_TOKENS)
    with shown_on(sys.stderr) as progress:
        runtime = Runtime.start(choice.config, progress=progress)
    with runtime:
        if as_json:
            click.echo(json.dumps(_as_json(runtime.ask(request)), ensure_ascii=False))
        elif request.transforms:
            # The chunks of a stream come as the model says them.
            _show(runtime.ask(request).content)
        else:
            _stream(runtime, request)


def _said(candidate: Candidate) -> str:
    if candidate.backend_type is BackendType.EMBEDDED:
        return DEMO
    return f"no configuration found: {candidate.name} answers ({candidate.reason}); `showcaller` says more."


def _show(text: str) -> None:
    open_screen(sys.stdout).write(text if text.endswith("\n") else f"{text}\n")


def _stream(runtime: Runtime, request: ChatRequest) -> None:
    screen = open_screen(sys.stdout)
    last = "\n"
    try:
        with runtime.stream(request) as stream:
            for chunk in stream:
                if chunk.text:
                    screen.write(chunk.text)
                    last = chunk.text[-1]
    finally:
        if last != "\n":
            screen.write("\n")


def _as_json(response: BackendResponse) -> dict[str, Any]:
    return {
        "content": response.content,
        "parsed": response.parsed,
        "backend": response.backend,
        "model": response.model,
        "route": response.route,
        "source": response.source.value,
        "finish_reason": response.finish_reason,
        "tool_calls": response.message.get("tool_calls") or [],
        "usage": attrs.asdict(response.usage),
        "cost_usd": None if response.cost_usd is None else str(response.cost_usd),
        "attempts": response.attempts,
        "latency": response.latency,
        "request_id": response.request_id,
    }
