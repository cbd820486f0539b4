"""Where settings come from: command line, environment, settings file, OpenAI's own variables.

Each source is read into a layer; a source that cannot be read, or has names nobody knows, adds to the
faults and the others are still read, so that one attempt shows everything there is to mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource, TomlConfigSettingsSource

from streamproxy.settings.faults import Fault
from streamproxy.settings.model import Settings
from streamproxy.settings.names import CONFIG_VARIABLE, PREFIX, VARIABLES, nearest

# OpenAI's own clients read these two, so whoever has them set need not set ours.
_OPENAI = {"OPENAI_API_KEY": "upstream.api_keys", "OPENAI_BASE_URL": "upstream.base_url"}


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says. *labels* tells for each dotted name where exactly it was said."""

    values: Mapping[str, Any]
    labels: Mapping[str, str]
    faults: tuple[Fault, ...] = field(default=())

    def source(self) -> PydanticBaseSettingsSource:
        """The layer as pydantic-settings takes it."""
        return InitSettingsSource(Settings, dict(self.values))


def command_line(overrides: Mapping[str, Any]) -> Layer:
    """Dotted names and values; None means that the option was not given."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return Layer(_nested(given), dict.fromkeys(given, "command line"))


def environment(environ: Mapping[str, str]) -> Layer:
    """Every ``STREAMPROXY_<SECTION>__<FIELD>``; another name with this prefix is a fault."""
    given = {name: environ[variable] for variable, name in VARIABLES.items() if variable in environ}
    labels = {name: f"environment {variable}" for variable, name in VARIABLES.items() if variable in environ}
    faults = [_unknown(variable) for variable in environ if _is_unknown(variable, environ)]
    return Layer(_nested(given), labels, tuple(faults))


def openai_environment(environ: Mapping[str, str]) -> Layer:
    """OPENAI_API_KEY and OPENAI_BASE_URL; empty ones count as unset, as they do for OpenAI's clients."""
    given = {name: environ[variable] for variable, name in _OPENAI.items() if environ.get(variable, "").strip()}
    labels = {name: f"environment {variable}" for variable, name in _OPENAI.items() if name in given}
    return Layer(_nested(given), labels)


def settings_file(path: Path) -> Layer:
    """The TOML file at *path*."""
    label = f"file {path}"
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "there is no such file")
        values = TomlConfigSettingsSource(Settings, toml_file=path)()
    except OSError as exc:
        return _unreadable(label, f"cannot be read: {exc.strerror}", "name another file, or none for the defaults")
    except ValueError as exc:
        return _unreadable(label, f"is no TOML: {exc}", "mend it there; https://toml.io shows the grammar")
    return Layer(values, dict.fromkeys(_dotted(values), label))


def _unreadable(label: str, problem: str, remedy: str) -> Layer:
    return Layer({}, {}, (Fault(name="settings file", source=label, problem=problem, remedy=remedy),))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in flat.items():
        section, dot, rest = name.partition(".")
        if dot:
            values.setdefault(section, {})[rest] = value
        else:
            values[section] = value
    return values


def _dotted(values: Mapping[str, Any]) -> list[str]:
    """The names in *values*, two levels deep, sections and fields."""
    names = list(values)
    for section, content in values.items():
        if isinstance(content, dict):
            names += [f"{section}.{name}" for name in content]
    return names


def _is_unknown(variable: str, environ: Mapping[str, str]) -> bool:
    ours = variable.upper().startswith(PREFIX)
    known = variable in VARIABLES or variable == CONFIG_VARIABLE
    return ours and not known and not _is_service_link(variable, environ)


def _is_service_link(variable: str, environ: Mapping[str, str]) -> bool:
    """Kubernetes describes a service named streamproxy in variables that begin just as ours do.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    hosts = [name for name in environ if name.startswith(PREFIX) and name.endswith("SERVICE_HOST")]
    services = [name.removesuffix("SERVICE_HOST") for name in hosts]
    return any(variable.startswith((f"{service}SERVICE_", f"{service}PORT")) for service in services)


def _unknown(variable: str) -> Fault:
    meant = nearest(variable.upper(), [*VARIABLES, CONFIG_VARIABLE])
    remedy = f"did you mean {meant}?" if meant else "remove it; `streamproxy check-config` lists every name"
    return Fault(name=variable, source="environment", problem="there is no setting of this name", remedy=remedy)
