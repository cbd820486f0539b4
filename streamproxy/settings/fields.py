"""The kinds of values that settings have, each checked where it enters.

A list may be given as one comma-separated text, as the environment has to. A faulty value raises
ValueError with what is wrong and what would be right; no text here repeats a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, Secret, SecretStr

from streamproxy.dialects import DIALECTS
from streamproxy.domain.limits import parse_limits
from streamproxy.domain.money import parse_price
from streamproxy.errors import ConfigurationError
from streamproxy.redaction import redact

T = TypeVar("T")

REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "redis+sentinel", "memory")
DATABASE_SCHEMES = ("sqlite+aiosqlite", "postgresql+asyncpg")
# RFC 7518, 3.2: a key for HS256 has at least as many bits as its hash.
SHORTEST_SECRET = 32


class SecretUrl(Secret[str]):
    """A URL that may hold a password: shown without it."""

    def _display(self) -> str:
        return redact(self.get_secret_value())


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _empty_is_unset(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Listed = BeforeValidator(_split)
# Compose files hand on unset variables as empty ones.
Unset = BeforeValidator(_empty_is_unset)


def _http_url(value: str) -> str:
    parts = _parts(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host, for example https://api.openai.com/v1")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or password; keys go into api_keys")
    if parts.query or parts.fragment:
        raise ValueError("must not contain a query or fragment")
    return value.rstrip("/")


def _parts(value: str) -> Any:
    """Split a URL, its port checked too; ValueError on what is none."""
    if re.search(r"[\s\x00-\x1f\x7f\\]", value):
        raise ValueError("must not contain spaces, backslashes or control characters")
    parts = urlsplit(value)
    if not 0 <= (parts.port or 0) <= 65535:  # reading .port is what checks it
        raise ValueError("has no valid port")
    return parts


def _scheme(schemes: tuple[str, ...]) -> Callable[[SecretUrl], SecretUrl]:
    def check(value: SecretUrl) -> SecretUrl:
        scheme, separator, _ = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes:
            raise ValueError("must begin with " + " or ".join(f"{name}://" for name in schemes))
        return value

    return check


def _origin(value: str) -> str:
    parts = _parts(value)
    if value != "*" and (parts.scheme not in ("http", "https") or value != f"{parts.scheme}://{parts.netloc}"):
        raise ValueError("must be an origin as browsers send it, https://chat.example.com, without a path, or *")
    return value


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _limits(value: str) -> str:
    try:
        parse_limits(value)
    except ConfigurationError as exc:
        raise ValueError(exc.message) from None
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a name of the IANA time zone database, for example Asia/Shanghai") from None
    return value


def _dialect(value: str) -> str:
    if value not in DIALECTS:
        raise ValueError("must be one of " + ", ".join(DIALECTS))
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    length = len(value.get_secret_value().encode())
    if length < SHORTEST_SECRET:
        raise ValueError(f"has {length} bytes and must have {SHORTEST_SECRET}; make one with: openssl rand -base64 48")
    return value


def _key(value: SecretStr) -> SecretStr:
    """A key goes into a header as it is, so it may hold nothing that ends one (RFC 9110, 5.5)."""
    if re.fullmatch(r"[\x21-\x7e]{1,4096}", value.get_secret_value()) is None:
        raise ValueError("must be 1 to 4096 visible ASCII characters")
    return value


def _models(value: Any) -> Any:
    """A list of names becomes a table in which each keeps its name."""
    value = _split(value)
    return dict.fromkeys(value, "*") if isinstance(value, list) else value


def _model_table(value: Mapping[str, str]) -> Mapping[str, str]:
    for name in value:
        if not name or "*" in name[:-1]:
            raise ValueError("a model is a name, or a beginning followed by *, or * for every model")
    return value


def _by_model(what: str, example: str) -> Callable[[Any], Any]:
    """Reads ``model=value`` pairs, as the environment spells a table."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in _split(value)]
        if not all(separator for _, separator, _ in pairs):
            raise ValueError(f"must be model={what}, comma-separated, for example my-model={example}")
        return {name.strip(): text.strip() for name, _, text in pairs}

    return read


def _price(value: str) -> str:
    try:
        parse_price(value)
    except ConfigurationError as exc:
        raise ValueError(exc.message) from None
    return value


Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Place: TypeAlias = Annotated[Path, AfterValidator(Path.expanduser)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http_url)]
RedisUrl: TypeAlias = Annotated[SecretUrl, AfterValidator(_scheme(REDIS_SCHEMES))]
DatabaseUrl: TypeAlias = Annotated[SecretUrl, AfterValidator(_scheme(DATABASE_SCHEMES))]
SigningSecret: TypeAlias = Annotated[SecretStr, AfterValidator(_signing_secret)]
Keys: TypeAlias = Annotated[tuple[Annotated[SecretStr, AfterValidator(_key)], ...], Listed]
Origins: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], Listed]
Addresses: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Listed]
LimitsText: TypeAlias = Annotated[str, AfterValidator(_limits)]
Zone: TypeAlias = Annotated[str, AfterValidator(_zone)]
DialectName: TypeAlias = Annotated[str, AfterValidator(_dialect)]
Models: TypeAlias = Annotated[dict[str, Text], BeforeValidator(_models), AfterValidator(_model_table)]
Windows: TypeAlias = Annotated[
    dict[str, Annotated[int, Field(ge=256, le=100_000_000)]], BeforeValidator(_by_model("tokens", "32768"))
]
PriceText: TypeAlias = Annotated[str, AfterValidator(_price)]
Prices: TypeAlias = Annotated[dict[str, PriceText], BeforeValidator(_by_model("price", "2.50/1.25/10"))]
Status: TypeAlias = Annotated[int, Field(ge=200, le=599)]
# A week bounds every time: a longer one is a unit mixed up (milliseconds).
Seconds: TypeAlias = Annotated[float, Field(ge=0.1, le=604_800)]
SecondsOrZero: TypeAlias = Annotated[float, Field(ge=0, le=604_800)]
