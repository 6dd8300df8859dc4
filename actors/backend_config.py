"""What a configuration says of a backend: a frozen and validated value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute, Factory, field, frozen

from showcaller.actors.canonical import FrozenDict, frozen_mapping
from showcaller.actors.endpoints import (
    as_headers,
    check_backend_name,
    check_base_url,
    check_entry_name,
    is_header_name,
)
from showcaller.actors.enums import BackendType, Capability
from showcaller.actors.redaction import redact
from showcaller.actors.secrets import Secret, as_secret
from showcaller.actors.validators import (
    SECONDS,
    boolean,
    is_number,
    json_mapping,
    member,
    number,
    refuse,
    text,
    whole,
)

HTTP_TYPES = frozenset({BackendType.OPENAI_COMPATIBLE, BackendType.GITHUB_MODELS, BackendType.ANTHROPIC})
CLI_TYPES = frozenset({BackendType.COPILOT_CLI, BackendType.GH_COPILOT})


@frozen(kw_only=True)
class Timeouts:
    """The timeouts of one attempt, in seconds.

    Attributes:
        connect: until the connection stands.
        first_token: from sending until the first byte of the answer.
        idle: between two reads of a stream.
        total: for the whole attempt.
    """

    connect: float = field(default=5.0, validator=number(SECONDS, above=0))
    first_token: float = field(default=30.0, validator=number(SECONDS, above=0))
    idle: float = field(default=15.0, validator=number(SECONDS, above=0))
    total: float = field(default=60.0, validator=number(SECONDS, above=0))

    @classmethod
    def of_total(cls, total: float) -> Timeouts:
        """Timeouts for a total alone: only the connection keeps a limit of its own.

        Raises:
            ConfigurationError: `total` is not a finite number greater than 0.
        """
        if not is_number(total) or total <= 0:
            raise refuse("Timeouts", "total", total, SECONDS)
        return cls(connect=min(5.0, total), first_token=total, idle=total, total=total)

    @classmethod
    def for_type(cls, backend_type: BackendType) -> Timeouts:
        """The timeouts of a backend that sets none."""
        return _TIMEOUTS.get(backend_type, _HTTP_TIMEOUTS)


_HTTP_TIMEOUTS = Timeouts()
_TIMEOUTS = {
    BackendType.COPILOT_CLI: Timeouts.of_total(180.0),
    BackendType.GH_COPILOT: Timeouts.of_total(30.0),
    BackendType.EMBEDDED: Timeouts.of_total(60.0),
}


def _as_timeouts(value: Timeouts | float) -> Timeouts:
    if isinstance(value, Timeouts):
        return value
    if not is_number(value) or value <= 0:
        fix = "use seconds greater than 0, or give connect, first_token, idle and total apart"
        raise refuse("BackendConfig", "timeout", value, fix)
    return Timeouts.of_total(value)


@frozen(kw_only=True)
class Limits:
    """What the provider allows: requests and tokens a minute; None is no limit."""

    rpm: int | None = field(
        default=None, validator=whole("use requests a minute, 1 or more", least=1, none=True)
    )
    tpm: int | None = field(
        default=None, validator=whole("use tokens a minute, 1 or more", least=1, none=True)
    )


def _as_backend_type(value: BackendType | str) -> BackendType:
    return member(BackendType, value, "BackendConfig", "backend_type")


def _check_driven(owner: object, attribute: Attribute[Any], value: BackendType) -> None:
    if value is BackendType.AUTO:
        raise refuse(owner, attribute.name, value.value, "AUTO is a choice among backends; name one type")


def _as_secret(value: Secret | str | None) -> Secret | None:
    return None if value is None else as_secret("BackendConfig", "api_key", value)


def _check_endpoint(backend: BackendConfig, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        check_base_url(backend, attribute, value)
    elif backend.backend_type in HTTP_TYPES:
        raise refuse(backend, "base_url", None, 'give the endpoint, such as "https://api.openai.com/v1"')


def _check_model(backend: BackendConfig, attribute: Attribute[Any], value: Any) -> None:
    if value is None:
        if backend.backend_type in HTTP_TYPES:
            raise refuse(backend, "model", None, "name the model that this backend serves")
        return
    if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
        raise refuse(backend, "model", value, "use the model's name as the endpoint knows it, without spaces")


MOST_SEATS = 10_000
"""Each is a thread, and a place in a pool of connections."""


def _seats(backend: BackendConfig) -> int:
    if backend.backend_type in CLI_TYPES:
        return 1
    return 2 if backend.backend_type is BackendType.EMBEDDED else 64


_ALL_CAPABILITIES = frozenset(Capability)
_CAPABILITIES = {
    # A CLI takes a prompt and gives a text.
    BackendType.COPILOT_CLI: frozenset[Capability](),
    BackendType.GH_COPILOT: frozenset[Capability](),
    # llama.cpp makes a grammar of a schema; tools it leaves out of the prompt without a word, and images it refuses.
    BackendType.EMBEDDED: frozenset({Capability.JSON_SCHEMA}),
}


def _as_capabilities(value: Iterable[Capability | str]) -> frozenset[Capability]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise refuse("BackendConfig", "supports", value, 'list what it can do, such as ["tools", "images"]')
    return frozenset(member(Capability, one, "BackendConfig", "supports") for one in value)


@frozen(kw_only=True)
class BackendConfig:
    """One endpoint, one credential and one model.

    Attributes:
        name: unique; `entry`, or `entry/model` where an entry declares several models.
        backend_type: how it is reached; its value or name is accepted too.
        enabled: a disabled backend is known and gets no requests.
        weight: its share among the targets of a weighted route that give none.
        timeout: of one attempt; a number of seconds is a total. The default depends on the type.
        max_retries: attempts after the first that one request may make at this backend.
        rate_limit_rpm: requests a minute, or None.
        rate_limit_tpm: tokens a minute, or None.
        model: the model as the endpoint knows it.
        base_url: of an HTTP endpoint, up to and without /chat/completions.
        api_key: the credential, or None for an endpoint without one.
        auth_header: the header that carries the credential.
        auth_scheme: the word before the credential; empty for none.
        headers: further headers; the value of one named like a credential becomes a Secret.
        max_parallel_requests: attempts in flight at once, each on a thread of its own.
        idempotent: may a request that may have been executed be sent again? False for a CLI.
        options: the transport's own options, such as n_ctx of an embedded model.
        supports: what it can do beyond plain chat; Capability members or their values. The default depends on
            the type: all over HTTP, nothing for a CLI.
        context_window: tokens of prompt and answer together that it takes, or None when that is not known.
        entry: the configuration entry it came from; backends of one entry share connections, limits and
            what is true of the endpoint.

    Raises:
        ConfigurationError: a field is wrong; the text names it, the value and the fix.
    """

    name: str = field(validator=check_backend_name)
    backend_type: BackendType = field(converter=_as_backend_type, validator=_check_driven)
    enabled: bool = field(default=True, validator=boolean())
    weight: float = field(default=1.0, validator=number("use a number greater than 0", above=0))
    timeout: Timeouts = field(
        default=Factory(lambda self: Timeouts.for_type(self.backend_type), takes_self=True),
        converter=_as_timeouts,
    )
    max_retries: int = field(default=2, validator=whole("use a whole number, 0 or more", least=0))
    rate_limit_rpm: int | None = field(
        default=None, validator=whole("use requests a minute, 1 or more, or leave it out", least=1, none=True)
    )
    rate_limit_tpm: int | None = field(
        default=None, validator=whole("use tokens a minute, 1 or more, or leave it out", least=1, none=True)
    )
    model: str | None = field(default=None, validator=_check_model)
    base_url: str | None = field(
        default=None,
        validator=_check_endpoint,
        repr=lambda url: repr(redact(url)) if isinstance(url, str) else repr(url),
    )
    api_key: Secret | None = field(default=None, converter=_as_secret)
    auth_header: str = field(default="Authorization")
    auth_scheme: str = field(
        default="Bearer", validator=text('use a word such as "Bearer", or "" for none', empty=True)
    )
    headers: Mapping[str, str | Secret] = field(factory=FrozenDict, converter=as_headers)
    max_parallel_requests: int = field(
        default=Factory(_seats, takes_self=True),
        validator=whole(f"use a whole number from 1 to {MOST_SEATS}", least=1, most=MOST_SEATS),
    )
    idempotent: bool = field(
        default=Factory(lambda self: self.backend_type not in CLI_TYPES, takes_self=True), validator=boolean()
    )
    options: Mapping[str, Any] = field(
        factory=FrozenDict,
        converter=frozen_mapping,
        validator=json_mapping("use a mapping of option names to JSON values"),
    )
    supports: frozenset[Capability] = field(
        default=Factory(
            lambda self: _CAPABILITIES.get(self.backend_type, _ALL_CAPABILITIES), takes_self=True
        ),
        converter=_as_capabilities,
        repr=lambda supports: repr(sorted(one.value for one in supports)),
    )
    context_window: int | None = field(
        default=None,
        validator=whole("use a number of tokens, 1 or more, or leave it out", least=1, none=True),
    )
    entry: str = field(
        default=Factory(lambda self: str(self.name).partition("/")[0], takes_self=True),
        validator=check_entry_name,
    )

    @auth_header.validator
    def _check_auth_header(self, attribute: Attribute[Any], value: Any) -> None:
        if not is_header_name(value):
            raise refuse(self, "auth_header", value, 'use a header name such as "Authorization" or "api-key"')

    @property
    def limits(self) -> Limits:
        """The two rate limits together."""
        return Limits(rpm=self.rate_limit_rpm, tpm=self.rate_limit_tpm)
