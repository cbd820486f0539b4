"""The names of all settings: ``section.field``, how the environment spells them, which hold secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import Secret, SecretStr
from pydantic.fields import FieldInfo

from streamproxy.settings.model import Settings
from streamproxy.settings.process import Section
from streamproxy.settings.upstreams import UpstreamEntry

PREFIX = "STREAMPROXY_"
CONFIG_VARIABLE = "STREAMPROXY_CONFIG"
# A list of tables: only the settings file can spell it.
UPSTREAMS = "upstreams"


def _fields() -> Iterable[tuple[str, FieldInfo]]:
    for section, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            for name, field in info.annotation.model_fields.items():
                yield f"{section}.{name}", field
        else:
            yield section, info


FIELDS: Mapping[str, FieldInfo] = dict(_fields())
"""Every setting by its dotted name."""

VARIABLES: Mapping[str, str] = {
    f"{PREFIX}{name.replace('.', '__').upper()}": name for name in FIELDS if name != UPSTREAMS
}
"""The dotted name by environment variable."""


def variable(name: str) -> str:
    """How the environment spells the setting *name*."""
    return PREFIX + name.replace(".", "__").upper()


def field_at(path: tuple[int | str, ...]) -> FieldInfo | None:
    """The field that the *path* of a fault leads into, None when it ends above every field."""
    if path[:1] == (UPSTREAMS,) and len(path) > 2:
        return UpstreamEntry.model_fields.get(str(path[2]))
    return FIELDS.get(".".join(map(str, path[:2])))


def holds_secret(annotation: Any) -> bool:
    """Whether a value of this type has a secret in it."""
    if isinstance(annotation, type) and issubclass(annotation, Secret | SecretStr):
        return True
    return any(holds_secret(part) for part in get_args(annotation))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of *known* that *name* most probably means."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
