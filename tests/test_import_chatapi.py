"""``streamproxy import chatapi``: the users of ChatAPI's SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from streamproxy.cli import main
from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError
from streamproxy.settings import load
from tests.support.rootlogger import root_logger_kept

# As the original makes them.
TABLES = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT UNIQUE NOT NULL,
    password TEXT NOT NULL,
    registration_time DATETIME DEFAULT (datetime('now', 'localtime')),
    last_login_time DATETIME DEFAULT (datetime('now', 'localtime'))
);
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL,
    token_value TEXT UNIQUE NOT NULL,
    count INTEGER DEFAULT 0,
    expiration_time DATETIME NOT NULL,
    last_use_time DATETIME DEFAULT (datetime('now', 'localtime'))
);
"""
SECRETS = ("hunter2-plain", "eyJ-an-old-token")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMPROXY_LIMITS__TIMEZONE", "Asia/Shanghai")
    with root_logger_kept():
        yield


def chatapi(users: Sequence[tuple[object, object]], *, tables: str = TABLES) -> str:
    """A database of the original's with these users and a token of the first."""
    with closing(sqlite3.connect("chatgpt.db")) as database:
        database.executescript(tables)
        database.executemany(
            "INSERT INTO users (username, password, registration_time) VALUES (?, ?, '2023-03-11 14:42:51')", users
        )
        database.execute(
            "INSERT INTO tokens (username, token_value, expiration_time) VALUES (?, ?, '2023-04-10 14:42:51')",
            (users[0][0], SECRETS[1]),
        )
        database.commit()
    return "chatgpt.db"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ("import", "chatapi", *arguments))
    assert not any(secret in result.output + result.stderr for secret in SECRETS)
    return result


def done(*arguments: str) -> list[list[str]]:
    """The lines of the report, in words."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output + result.stderr
    return [line.split() for line in result.stdout.splitlines()]


def who_signs_in(name: str, password: str) -> User | None:
    async def work(accounts: Accounts) -> User | None:
        try:
            return await accounts.auth.verify_password(name, password)
        except AuthenticationError:
            return None

    return with_accounts(load(None, {}, {}).settings, work)


def test_users_sign_in_with_their_old_passwords() -> None:
    result = run(chatapi([("alice", "hunter2-plain"), ("李雷", "密码 123")]))
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["KIND", "IMPORTED", "SKIPPED"],
        ["tokens", "0", "1"],
        ["users", "2", "0"],
    ]
    assert "1 rows of tokens: signed with the other secret; POST /token gives new ones" in result.stdout
    alice = who_signs_in("alice", "hunter2-plain")
    assert alice is not None
    assert (alice.password_hash or "").startswith("$argon2id$")
    assert alice.created == datetime(2023, 3, 11, 14, 42, 51, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
    assert who_signs_in("李雷", "密码 123") is not None
    assert who_signs_in("alice", "wrong") is None


def test_no_password_stands_anywhere_in_plain_text() -> None:
    done(chatapi([("alice", "hunter2-plain")]))
    kept = b"".join(file.read_bytes() for file in Path("data").rglob("*") if file.is_file())
    assert b"alice" in kept
    assert b"hunter2-plain" not in kept


def test_a_dry_run_reports_the_same_and_keeps_nothing() -> None:
    path = chatapi([("alice", "a"), ("bad\tname", "a")])
    assert [line[:3] for line in done(path, "--dry-run")][2] == ["users", "1", "1"]
    assert who_signs_in("alice", "a") is None
    assert done(path)[2] == ["users", "1", "1"]


def test_an_import_may_be_repeated_and_changes_nobody() -> None:
    path = chatapi([("alice", "first")])
    done(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE users SET password = 'second'")
        database.execute("INSERT INTO users (username, password) VALUES ('bob', 'b')")
        database.commit()
    assert done(path)[2] == ["users", "1", "1"]
    assert who_signs_in("alice", "first") is not None
    assert who_signs_in("bob", "b") is not None


def test_rows_that_cannot_be_taken_over_are_named_with_their_reason() -> None:
    path = chatapi([("x' UNION SELECT 1,'admin','pw','a','b' -- ", "p"), ("empty", ""), ("n" * 65, "p"), ("ok", "p")])
    result = run(path)
    assert result.exit_code == 0
    assert "users row 1: name must be" in result.stdout
    assert "users row 2:" in result.stdout
    assert "users row 3: name must be" in result.stdout
    assert who_signs_in("ok", "p") is not None


def test_a_table_made_by_hand_with_the_requests_own_names_will_do() -> None:
    with closing(sqlite3.connect("other.db")) as database:
        database.executescript("CREATE TABLE users (u TEXT, p TEXT); INSERT INTO users VALUES ('carol', 'c')")
    assert done("other.db")[1] == ["users", "1", "0"]
    assert who_signs_in("carol", "c") is not None


def test_the_originals_file_is_only_read() -> None:
    path = Path(chatapi([("alice", "a")]))
    path.chmod(0o400)
    before = path.read_bytes()
    done(str(path))
    assert path.read_bytes() == before
    assert [entry.name for entry in Path().iterdir() if entry.name.startswith("chatgpt.db")] == ["chatgpt.db"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no table users"),
        (b"no database at all, but long enough to be one" * 100, "cannot be read as an SQLite database"),
    ],
)
def test_another_file_is_refused(content: bytes, why: str) -> None:
    Path("x.db").write_bytes(content)
    result = run("x.db")
    assert (result.exit_code, why in result.stderr) == (1, True)


def test_a_file_that_is_not_there_is_a_wrong_call() -> None:
    assert run("nowhere.db").exit_code == 2
