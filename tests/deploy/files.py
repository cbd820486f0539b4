"""The files under deploy/, read as their tools read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from streamproxy.settings import Settings, load
from streamproxy.workers import STOP_MARGIN_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def settings_of(environment: Mapping[str, str]) -> Settings:
    """What streamproxy makes of an environment; ConfigurationError for a name or value it does not take."""
    return load(None, {}, environment).settings


def longest_stop(settings: Settings) -> float:
    """Seconds from SIGTERM until the supervisor has killed whatever has not ended."""
    return settings.server.drain_seconds + STOP_MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile: its word, and the rest of its line."""

    word: str
    text: str


def dockerfile() -> Iterator[Step]:
    """The steps of deploy/Dockerfile, continued lines joined, comments left out."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield Step(word, rest.strip())


def environment_of(step: Step) -> dict[str, str]:
    """What an ENV step sets."""
    pairs = (part.split("=", 1) for part in shlex.split(step.text))
    return dict(pairs)
