"""Reading all sources into one ``Settings``: command line, then environment, then file, then defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamproxy.redaction import redact
from streamproxy.settings.faults import as_error, faults_of
from streamproxy.settings.model import Settings
from streamproxy.settings.names import CONFIG_VARIABLE, FIELDS, UPSTREAMS
from streamproxy.settings.sources import Layer, command_line, environment, openai_environment, settings_file
from streamproxy.settings.texts import text_of


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each dotted name where its value came from.

    A source is ``default``, ``environment STREAMPROXY_…``, ``file PATH`` or ``command line``.
    """

    settings: Settings
    sources: Mapping[str, str]

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Every setting as name, value and source, in the order of the sections; secrets masked."""
        for name in FIELDS:
            if name == UPSTREAMS:
                yield from self._upstream_lines()
            else:
                section, _, field = name.partition(".")
                value = getattr(getattr(self.settings, section), field)
                yield name, redact(text_of(value)), self.sources[name]

    def _upstream_lines(self) -> Iterator[tuple[str, str, str]]:
        for number, entry in enumerate(self.settings.upstreams):
            for field in type(entry).model_fields:
                yield f"upstreams.{number}.{field}", redact(text_of(getattr(entry, field))), self.sources[UPSTREAMS]


def load(config_file: Path | None, overrides: Mapping[str, Any], environ: Mapping[str, str]) -> Loaded:
    """Read and check all settings. *overrides* are dotted names with values, None for options not given.

    Without *config_file* the file that STREAMPROXY_CONFIG names is read, or none. ConfigurationError
    lists every fault of every source at once, no secret among them.
    """
    layers = _layers(config_file, overrides, environ)
    labels = {name: label for layer in reversed(layers) for name, label in layer.labels.items()}
    faults = [fault for layer in layers for fault in layer.faults]
    try:
        # _build_sources is documented; mypy knows it only with pydantic's plugin.
        settings = Settings(_build_sources=(tuple(layer.source() for layer in layers), {}))  # type: ignore[call-arg]
    except ValidationError as exc:
        # `from None`: pydantic's own text repeats the values, secrets too.
        raise as_error([*faults, *faults_of(exc, labels)]) from None
    if faults:
        raise as_error(faults)
    return Loaded(settings, {name: labels.get(name, "default") for name in FIELDS})


def _layers(config_file: Path | None, overrides: Mapping[str, Any], environ: Mapping[str, str]) -> list[Layer]:
    """The highest precedence first."""
    layers = [command_line(overrides), environment(environ)]
    named = environ.get(CONFIG_VARIABLE, "").strip()
    path = config_file or (Path(named) if named else None)
    if path is not None:
        layers.append(settings_file(path))
    return [*layers, openai_environment(environ)]
