"""The example settings file is held to the model: every setting, its description, its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import streamproxy
from streamproxy.settings import Settings, UpstreamEntry, load
from streamproxy.settings.names import FIELDS, UPSTREAMS

EXAMPLE = Path(streamproxy.__file__).parents[1] / "deploy" / "streamproxy.example.toml"


def test_it_says_what_the_defaults_are() -> None:
    assert load(EXAMPLE, {}, {}).settings == Settings()


@pytest.mark.parametrize("name", [name for name in FIELDS if name != UPSTREAMS])
def test_it_names_and_describes(name: str) -> None:
    section, _, field = name.partition(".")
    table = re.search(rf"^\[{section}\]$(.*?)(^\[|\Z)", EXAMPLE.read_text(), re.MULTILINE | re.DOTALL)
    assert table is not None
    assert re.search(rf"^# {re.escape(FIELDS[name].description or '')}\n#?{field} = ", table[1], re.MULTILINE)


@pytest.mark.parametrize("name", UpstreamEntry.model_fields)
def test_it_names_and_describes_in_upstreams(name: str) -> None:
    _, _, table = EXAMPLE.read_text().partition("[[upstreams]]")
    assert f"# {UpstreamEntry.model_fields[name].description}\n#{name} = " in table


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    path = tmp_path / "streamproxy.toml"
    path.write_text(re.sub(r"^#(?=\w+ = |\[)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    loaded = load(path, {}, {})
    assert loaded.settings.redis_url == "redis://127.0.0.1:6379/0"
    assert [upstream.name for upstream in loaded.settings.all_upstreams] == ["default", "local"]
    assert set(loaded.sources.values()) == {f"file {path}"}
