"""What is wrong with settings, as sentences: name, value, source, problem, remedy.

A value is shown only where it stands in a field known to hold no secret: somebody may have put a key
under a misspelt name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from streamproxy.errors import ConfigurationError
from streamproxy.redaction import MASK, redact
from streamproxy.settings.names import FIELDS, UPSTREAMS, field_at, holds_secret, nearest, variable
from streamproxy.settings.texts import text_of
from streamproxy.settings.upstreams import UpstreamEntry

_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to mend. *value* is as it may be shown, empty when there is none to show."""

    name: str
    source: str
    problem: str
    remedy: str
    value: str = ""

    def __str__(self) -> str:
        shown = f"{self.name} = {self.value}" if self.value else self.name
        return f"{shown} ({self.source}): {self.problem}\n    remedy: {self.remedy}"


def as_error(faults: Sequence[Fault]) -> ConfigurationError:
    """All *faults* as the one error that is raised for them."""
    count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ConfigurationError(redact("\n  ".join([f"{count} in the settings:", *map(str, faults)])))


def faults_of(error: ValidationError, labels: Mapping[str, str]) -> list[Fault]:
    """Translate what pydantic found; *labels* tells where each name was set."""
    return [_fault(details, labels) for details in error.errors(include_url=False)]


def _fault(details: ErrorDetails, labels: Mapping[str, str]) -> Fault:
    path = details["loc"]
    source = _source(path, labels)
    name = ".".join(map(str, path)) or "settings"
    if details["type"] == "extra_forbidden":
        problem, remedy = "there is no setting of this name", _meant(path)
        return Fault(name=name, source=source, problem=problem, remedy=remedy)
    field = field_at(path)
    problem = (
        details["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("Field required", "must be set")
    )
    remedy = _remedy(".".join(map(str, path[:2])), field, source)
    return Fault(name=name, source=source, problem=problem, remedy=remedy, value=_value(details, field))


def _source(path: tuple[int | str, ...], labels: Mapping[str, str]) -> str:
    """Where the fault was set; a fault of a whole section has all the sources of its fields."""
    for depth in (2, 1):
        name = ".".join(map(str, path[:depth]))
        if name in labels and (depth == 2 or len(path) == 1 or name == UPSTREAMS):
            return labels[name]
    section = str(path[0]) if path else ""
    said = {label for name, label in labels.items() if name.startswith(f"{section}." if section else "")}
    return " and ".join(sorted(said)) or "default"


def _value(details: ErrorDetails, field: FieldInfo | None) -> str:
    if field is None or details["type"] == "missing" or not isinstance(details["input"], str | int | float):
        return ""
    if holds_secret(field.annotation):
        return MASK
    shown = repr(details["input"])
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}…"


def _meant(path: tuple[int | str, ...]) -> str:
    if path[:1] == (UPSTREAMS,):
        known, wrong = list(UpstreamEntry.model_fields), str(path[-1])
    elif len(path) == 1:
        known, wrong = sorted({name.partition(".")[0] for name in FIELDS}), str(path[0])
    else:
        known, wrong = list(FIELDS), ".".join(map(str, path))
    meant = nearest(wrong, known)
    return f"did you mean {meant}?" if meant else f"remove it; known are {', '.join(known)}"


def _remedy(name: str, field: FieldInfo | None, source: str) -> str:
    if field is None:
        return "mend it there; `streamproxy check-config --help` tells how settings are written"
    advice = field.description or ""
    example = text_of(field.examples[0] if field.examples else field.get_default(call_default_factory=True))
    if holds_secret(field.annotation) or name not in FIELDS or example in ("", "unset"):
        return advice
    if source.startswith("environment"):
        return f"{advice} For example {variable(name)}={example}"
    plain = example in ("true", "false") or example.isdecimal()
    return f"{advice} For example {name} = {example if plain else json.dumps(example)}"
