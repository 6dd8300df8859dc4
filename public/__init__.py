"""Showcaller: an actor-based runtime that carries out model calls."""

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.messages import Submit
from showcaller.actors.models import ChatRequest
from showcaller.actors.settings import BackendConfig, RouteConfig, RuntimeSettings, TargetConfig
from showcaller.runtime.runtime import Runtime

__all__ = ["BackendConfig", "ChatRequest", "RouteConfig", "Runtime", "RuntimeConfig", "RuntimeSettings", "Submit", "TargetConfig"]
