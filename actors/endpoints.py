"""The checks of what addresses a backend: its name, its URL and the headers it wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import Attribute

from showcaller.actors.canonical import FrozenDict
from showcaller.actors.redaction import remember_secret
from showcaller.actors.secrets import Secret, as_secret
from showcaller.actors.validators import refuse

_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*\Z")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)


def is_entry_name(value: object) -> bool:
    """May it name a configuration entry or a route?"""
    return isinstance(value, str) and _ENTRY.match(value) is not None


def check_entry_name(owner: object, attribute: Attribute[Any], value: Any) -> None:
    """A name of a configuration entry or a route: letters, digits and `_ . : -`, so no `/` and no space."""
    if not is_entry_name(value):
        raise refuse(owner, attribute.name, value, 'use letters, digits and "_.:-", without "/" or spaces')


def check_backend_name(owner: object, attribute: Attribute[Any], value: Any) -> None:
    """A backend's name: `entry`, or `entry/model` where the model may itself have slashes."""
    entry, slash, model = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not _ENTRY.match(entry) or (slash and (not model or not model.isprintable() or " " in model)):
        fix = 'use letters, digits and "_.:-", as in "local"; a model may follow, as in "openai/gpt-5"'
        raise refuse(owner, attribute.name, value, fix)


def check_route_name(owner: object, attribute: Attribute[Any], value: Any) -> None:
    """A name that a request can give: printable, without spaces; a model's own name may have slashes and more."""
    if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
        raise refuse(owner, attribute.name, value, "use a printable name without spaces")


def is_header_name(value: object) -> bool:
    """May it stand before the colon of an HTTP header?"""
    return isinstance(value, str) and _HEADER.match(value) is not None


def as_headers(value: Mapping[str, str | Secret]) -> FrozenDict:
    """Frozen headers; the value of one that is named like a credential becomes a Secret."""
    if type(value) is FrozenDict:
        return value
    if not isinstance(value, Mapping):
        raise refuse("BackendConfig", "headers", type(value), "use a mapping of header names to str")
    headers: dict[str, str | Secret] = {}
    for name, given in value.items():
        if not is_header_name(name):
            raise refuse("BackendConfig", "headers", name, "use valid HTTP header names")
        content: object = given
        if isinstance(given, str) and _SECRET_NAME.search(name):
            content = as_secret("BackendConfig", f"headers.{name}", given)
        if not isinstance(content, (Secret, str)) or (isinstance(content, str) and not content.isprintable()):
            raise refuse("BackendConfig", f"headers.{name}", type(content), "use a str on one line")
        headers[name] = content
    return FrozenDict(headers)


def check_base_url(owner: object, attribute: Attribute[Any], value: Any) -> None:
    """An http or https URL up to /chat/completions, without user and fragment; a key in its query is masked."""
    fix = 'use an http or https URL such as "https://api.openai.com/v1"'
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise refuse(owner, attribute.name, value, fix)
    try:
        parts = urlsplit(value)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        raise refuse(owner, attribute.name, value, fix) from None
    if "@" in parts.netloc:
        raise refuse(
            owner, attribute.name, value, "take the credential out of the URL and give it as api_key"
        )
    if bad or parts.fragment:
        raise refuse(owner, attribute.name, value, fix)
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise refuse(owner, attribute.name, value, "leave /chat/completions out; it is added to every call")
    for name, content in parse_qsl(parts.query):
        if _SECRET_NAME.search(name):
            remember_secret(content)
