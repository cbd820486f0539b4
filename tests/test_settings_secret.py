"""The generated secret: made once, whole, for its owner only, and the same for everybody."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamproxy.errors import ConfigurationError
from streamproxy.settings import Settings, auth_secret, load


def settings_in(folder: Path, **environ: str) -> Settings:
    values = {"SERVER__DATA_DIR": str(folder), **environ}
    return load(None, {}, {f"STREAMPROXY_{name}": value for name, value in values.items()}).settings


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    secret = auth_secret(settings)
    assert len(secret) >= 43
    assert auth_secret(settings) == secret
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]


def test_all_who_ask_first_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: auth_secret(settings_in(tmp_path)), range(64)))
    assert len(found) == 1


def test_a_configured_secret_wins_and_leaves_no_file(tmp_path: Path) -> None:
    assert auth_secret(settings_in(tmp_path, AUTH__SECRET="s" * 32)) == b"s" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named_with_the_remedy_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(ConfigurationError, match="remove the file"):
        auth_secret(settings_in(tmp_path))
    assert (tmp_path / "secret").read_text() == "short\n"


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="STREAMPROXY_AUTH__SECRET"):
        auth_secret(settings_in(tmp_path / "file" / "data"))
