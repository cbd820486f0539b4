"""The files that the systems we replace leave behind, read as rows.

ChatAPI keeps ``users`` (``username``, ``password`` in plain text, ``registration_time``) and ``tokens`` in SQLite.
The ``/message`` backend's tables ``user``, ``apipoll`` and ``askhis`` come as CSV, exported with their column names.
A row that cannot be read is reported, not fatal; a file that is not what it should be is a ConfigurationError.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

from streamproxy.errors import ConfigurationError
from streamproxy.services.imports import FormerKey, FormerTurn, FormerUser, Report, name_for

# As the original's own column is called, then as people spell it who made the table by hand.
_USERNAME, _PASSWORD = ("username", "u"), ("password", "p")
# An askhis row holds two texts of 10,240 characters; csv's own bound would do for a hundred of them.
_UNUSABLE = frozenset({"0", "false", "f", "no"})


def chatapi_users(path: Path, zone: ZoneInfo) -> list[FormerUser]:
    """The rows of ``users``, in their order. Times there are local times."""
    with closing(_opened(path)) as database:
        columns = _columns(path, database, "users")
        name, password = _one_of(path, columns, _USERNAME), _one_of(path, columns, _PASSWORD)
        since = "registration_time" if "registration_time" in columns else "NULL"
        # Names of columns out of fixed lists: nothing here comes from the file.
        rows = database.execute(f"SELECT {name}, {password}, {since} FROM users ORDER BY rowid").fetchall()  # noqa: S608
    return [
        FormerUser(f"users row {number}", str(user or ""), str(secret or ""), created=_seconds(str(at), zone))
        for number, (user, secret, at) in enumerate(rows, 1)
    ]


def chatapi_tokens(path: Path) -> int:
    """How many tokens there are; 0 without the table."""
    with closing(_opened(path)) as database:
        if not _table(database, "tokens"):
            return 0
        return int(database.execute("SELECT count(*) FROM tokens").fetchone()[0])


def message_users(path: Path, report: Report) -> list[FormerUser]:
    """Rows with ``openid`` and ``num``; the original let ``num`` fall below zero."""
    found = []
    for place, row in _csv(path, ("openid", "num")):
        number = _integer(row["num"])
        if number is None:
            report.skip("users", place, "num is no number")
        else:
            openid = row["openid"].strip()
            found.append(FormerUser(place, name_for(openid), openid=openid, questions=max(number, 0)))
    return found


def openids(path: Path | None) -> Mapping[str, str]:
    """The openid by the ``id`` of its row: the original's history knows its users by that."""
    if path is None:
        return {}
    rows = [row for _, row in _csv(path, ("openid",))]
    return {row["id"].strip(): row["openid"].strip() for row in rows if row.get("id")}


def message_keys(path: Path, report: Report) -> list[FormerKey]:
    """Rows with ``apikey``, and ``statu`` and ``callnum`` where they are there."""
    found = []
    for place, row in _csv(path, ("apikey",)):
        calls = _integer(row.get("callnum") or "0")
        usable = not {(row.get(name) or "1").strip().lower() for name in ("statu", "checkstatu")} & _UNUSABLE
        if calls is None:
            report.skip("keys", place, "callnum is no number")
        else:
            found.append(FormerKey(place, row["apikey"].strip(), usable, max(calls, 0)))
    return found


def message_turns(path: Path, report: Report, *, by_id: Mapping[str, str], zone: ZoneInfo) -> list[FormerTurn]:
    """Rows with ``ask``, ``answ``, ``time`` and ``openid``, which may be the ``id`` of a user's row instead."""
    found = []
    for place, row in _csv(path, ("ask", "answ", "time", "openid")):
        at, who = _seconds(row["time"], zone), row["openid"].strip()
        if at is None:
            report.skip("history", place, "time is not YYYY-MM-DD HH:MM:SS")
        elif not row["ask"] or not row["answ"]:
            report.skip("history", place, "ask or answ is empty")
        else:
            found.append(FormerTurn(place, by_id.get(who, who), row["ask"], row["answ"], at))
    return found


def _csv(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each complete row with its place. Spreadsheets put a byte order mark first."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in wanted if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigurationError(f"{path} has no column {', '.join(missing)} in its first line")
            for row in reader:
                row.pop(None, None)  # what is behind the last column
                yield f"{path.name} line {reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigurationError(f"{path} cannot be read as CSV in UTF-8: {exc}") from exc


def _opened(path: Path) -> sqlite3.Connection:
    """Read only: the original may still be running."""
    try:
        database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        # Bytes that are no UTF-8 must not stop everybody else's row.
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        database.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as exc:
        raise ConfigurationError(f"{path} cannot be read as an SQLite database: {exc}") from exc
    return database


def _table(database: sqlite3.Connection, name: str) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(database.execute(query, (name,)).fetchone()[0])


def _columns(path: Path, database: sqlite3.Connection, table: str) -> set[str]:
    if not _table(database, table):
        raise ConfigurationError(f"{path} has no table {table}")
    return {str(row[0]) for row in database.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _one_of(path: Path, columns: set[str], names: Sequence[str]) -> str:
    for name in names:
        if name in columns:
            return name
    raise ConfigurationError(f"{path}: the table users has no column {' or '.join(names)}")


def _integer(text: str) -> int | None:
    try:
        return int(text.strip()[:20])
    except ValueError:
        return None


def _seconds(text: str, zone: ZoneInfo) -> float | None:
    """The epoch second of a local time as SQLite and spreadsheets write it; None when it is none."""
    try:
        at = datetime.fromisoformat(text.strip().replace("/", "-"))
        return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None
