"""Commands about provider keys, on a real database in a folder of their own, with no server running."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamproxy.cli import main
from streamproxy.stores.redis.whereabouts import find, publish, withdraw
from tests.support.rootlogger import root_logger_kept

KEY = "sk-live-0123456789abcdefWXYZ"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with root_logger_kept():
        yield


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["key", *arguments], input=stdin)


def done(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 1, result.output
    return result.stderr


def listed() -> list[str]:
    return done("list").splitlines()[1:]


def test_a_key_is_added_listed_by_its_last_4_and_removed() -> None:
    assert "…WXYZ" in done("add", "default", "--stdin", stdin=f"{KEY}\n")
    (line,) = listed()
    assert [part in line for part in ("default", "…WXYZ", "key add", "healthy")] == [True] * 4
    assert "removed" in done("remove", "WXYZ")
    assert listed() == []


def test_no_command_ever_shows_a_key(tmp_path: Path) -> None:
    said = [done("add", "default", "--stdin", stdin=KEY), done("list"), done("disable", "WXYZ")]
    said.append(refused("add", "default", "--stdin", stdin=KEY))
    assert not any(KEY in text or KEY[:-4] in text for text in said)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_keys_of_the_settings_are_listed_and_disabled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert "settings" in listed()[0]
    done("disable", "…WXYZ")
    assert "disabled by hand" in listed()[0]
    done("enable", listed()[0].split()[0])
    assert "healthy" in listed()[0]
    assert "stands in the settings" in refused("remove", "WXYZ")


def test_a_name_must_mean_one_key() -> None:
    done("add", "default", "--stdin", stdin=KEY)
    done("add", "default", "--stdin", stdin=f"x{KEY}")
    said = refused("disable", "WXYZ")
    assert all(line.split()[0] in said for line in listed())
    assert "no key 'nobody'" in refused("disable", "nobody")
    assert "no key ''" in refused("disable", "")


@pytest.mark.parametrize("text", ["two words", "käse", "a\x00b", "x" * 4097])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(text: str) -> None:
    said = refused("add", "default", "--stdin", stdin=text)
    assert "visible ASCII" in said
    assert text not in said


def test_an_upstream_must_be_known() -> None:
    assert "only default" in refused("add", "defualt", "--stdin", stdin=KEY)
    assert run("add", "default", "--stdin", stdin="").exit_code == 2


def test_a_key_may_have_limits_of_its_own() -> None:
    done("add", "default", "--stdin", "--requests", "500/min", "--streams", "3", stdin=KEY)
    assert "is not a limit" in refused("add", "default", "--stdin", "--tokens", "many", stdin=f"x{KEY}")


def test_a_key_under_another_secret_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    done("add", "default", "--stdin", stdin=KEY)
    monkeypatch.setenv("STREAMPROXY_AUTH__ENCRYPTION_KEY", "another secret of thirty-two bytes")
    assert any("disabled" in line and "another secret" in line for line in listed())


def test_a_probe_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 9 discards, where anybody listens at all."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    done("add", "default", "--stdin", stdin=KEY)
    result = run("probe", "WXYZ")
    assert result.exit_code == 1
    assert "upstream_unreachable" in result.stdout


def test_only_its_own_user_can_read_where_the_redis_is(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    socket.touch()
    publish(tmp_path / "data", f"unix://{socket}")
    assert find(tmp_path / "data") == f"unix://{socket}"
    assert stat.S_IMODE((tmp_path / "data" / "redis-url").stat().st_mode) == 0o600
    withdraw(tmp_path / "data", "unix:///another")
    assert find(tmp_path / "data") == f"unix://{socket}"
    withdraw(tmp_path / "data", f"unix://{socket}")
    assert find(tmp_path / "data") is None


def test_a_redis_that_is_gone_is_not_found(tmp_path: Path) -> None:
    """Its supervisor was killed: nobody was left to take the file away."""
    publish(tmp_path, f"unix://{tmp_path}/gone.sock")
    assert find(tmp_path) is None


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    publish(tmp_path / "file", "unix:///s")
    assert "commands cannot see" in caplog.text
