"""What is known of the endpoints that a configuration may name by `type`: data, not code."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from showcaller.actors.enums import BackendType


@frozen(kw_only=True)
class Preset:
    """The defaults of one `type`.

    Attributes:
        backend_type: how it is reached.
        base_url: its endpoint, or None when only the user knows it.
        base_url_env: the environment variable that overrides `base_url`.
        base_url_path: appended to what `base_url_env` holds.
        api_key_env: the environment variable that usually holds its key; None for an endpoint without one.
        auth_header, auth_scheme: how the key is sent.
        headers: headers that it always wants.
        model: the model when an entry names none.
    """

    backend_type: BackendType = BackendType.OPENAI_COMPATIBLE
    base_url: str | None = None
    base_url_env: str | None = None
    base_url_path: str = ""
    api_key_env: str | None = None
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"
    headers: Mapping[str, str] = field(factory=dict)
    model: str | None = None


PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1", base_url_env="OPENAI_BASE_URL", api_key_env="OPENAI_API_KEY"
    ),
    "openai_compatible": Preset(),
    "azure": Preset(api_key_env="AZURE_OPENAI_API_KEY", auth_header="api-key", auth_scheme=""),
    "groq": Preset(base_url="https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY"),
    "openrouter": Preset(base_url="https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY"),
    "ollama": Preset(base_url="http://127.0.0.1:11434/v1"),
    "llamacpp": Preset(base_url="http://127.0.0.1:8080/v1"),
    "github_models": Preset(
        backend_type=BackendType.GITHUB_MODELS,
        base_url="https://models.github.ai/inference",
        base_url_env="GITHUB_MODELS_BASE_URL",
        base_url_path="/inference",
        api_key_env="GITHUB_TOKEN",
        headers={"X-GitHub-Api-Version": "2022-11-28"},
    ),
    "embedded": Preset(backend_type=BackendType.EMBEDDED, model="smollm2"),
}

NOT_DRIVEN: Mapping[str, str] = {
    "copilot": "the Copilot CLI is not driven by this version",
    "copilot_cli": "the Copilot CLI is not driven by this version",
    "gh": "gh copilot is not driven by this version",
    "gh_copilot": "gh copilot is not driven by this version",
    "anthropic": "Anthropic's own API is not spoken by this version; use an OpenAI-compatible endpoint",
}
"""Types that have a name already and no transport yet."""
