"""``streamproxy import message``: users, keys and history of the /message backend, from CSV files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from streamproxy.cli import main
from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.cli.keyring import with_keyring
from streamproxy.domain.ports import User
from streamproxy.services.keyring import Keyring, KnownKey
from streamproxy.settings import Settings, load
from tests.support.redis_server import RedisServer
from tests.support.rootlogger import root_logger_kept

USERS = "id,openid,num\n7,oA_first,8\n8,oB_second,-2\n9,,3\n10,oC_third,many\n"
KEYS = "apikey,statu,checkstatu,callnum\nsk-old-aaaaaaaaaaaa,1,1,120\nsk-old-bbbbbbbbbbbb,0,1,7\nsk old,1,1,0\n"
HISTORY = (
    "id,ask,answ,time,openid\n"
    '1,"你好, wer?","Hallo\nda",2023-03-11 14:42:51.123456,7\n'
    "2,second,answer,2023/03/11 14:43:00,oB_second\n"
    "3,lost,answer,2023-03-11 14:43:00,99\n"
    "4,when,answer,yesterday,7\n"
    "5,,answer,2023-03-11 14:43:00,7\n"
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMPROXY_UPSTREAM__BASE_URL", "http://127.0.0.1:1/v1")
    for name, text in (("user", USERS), ("apipoll", KEYS), ("askhis", HISTORY)):
        Path(f"{name}.csv").write_text(text, encoding="utf-8")
    with root_logger_kept():
        yield


def settings() -> Settings:
    return load(None, {}, {"STREAMPROXY_UPSTREAM__BASE_URL": "http://127.0.0.1:1/v1"}).settings


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ("import", "message", *arguments))
    assert "sk-old-" not in result.output + result.stderr
    return result


def done(*arguments: str) -> dict[str, tuple[int, int]]:
    """Imported and skipped by kind."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output + result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if not line.startswith(("KIND", "skipped"))]
    return {kind: (int(imported), int(skipped)) for kind, imported, skipped in rows}


ALL = ("--users", "user.csv", "--keys", "apipoll.csv", "--history", "askhis.csv")


def user_of(openid: str) -> User | None:
    async def work(accounts: Accounts) -> User | None:
        return await accounts.users.by_openid(openid)

    return with_accounts(settings(), work)


def history_of(openid: str) -> list[tuple[str, str, float]]:
    async def work(accounts: Accounts) -> list[tuple[str, str, float]]:
        user = await accounts.users.by_openid(openid)
        assert user is not None
        rows = await accounts.ledger.history(user.id)
        return [(row.role, json.loads(row.message)["content"], row.created) for row in rows]

    return with_accounts(settings(), work)


def keys() -> list[KnownKey]:
    async def work(keyring: Keyring) -> list[KnownKey]:
        return [key for key in await keyring.all() if key.stored]

    return with_keyring(settings(), work)


def test_users_come_with_the_questions_they_have_left() -> None:
    assert done("--users", "user.csv") == {"users": (2, 2)}
    first, second = user_of("oA_first"), user_of("oB_second")
    assert first is not None
    assert second is not None
    assert (first.name, first.questions_left, first.password_hash) == ("oA_first", 8, None)
    assert second.questions_left == 0


def test_history_belongs_to_the_user_whose_row_or_openid_it_names() -> None:
    assert done(*ALL)["history"] == (2, 3)
    at = 1678545771.123456
    assert history_of("oA_first") == [("user", "你好, wer?", at), ("assistant", "Hallo\nda", at)]
    assert [content for _, content, _ in history_of("oB_second")] == ["second", "answer"]


def test_history_costs_nothing_here() -> None:
    done(*ALL)

    async def work(accounts: Accounts) -> list[tuple[int, int]]:
        user = await accounts.users.by_openid("oA_first")
        assert user is not None
        return [(s.prompt_tokens, s.cost_nano_usd) for s in await accounts.ledger.usage_by_day(user.id, since=0)]

    assert with_accounts(settings(), work) == [(0, 0)]


def test_keys_in_use_are_kept_encrypted() -> None:
    assert done("--keys", "apipoll.csv")["keys"] == (1, 2)
    [key] = keys()
    assert (key.upstream, key.last4) == ("default", "aaaa")
    kept = b"".join(file.read_bytes() for file in Path("data").rglob("*") if file.is_file())
    assert b"sk-old-" not in kept


def test_counters_of_keys_go_on_where_they_were(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{redis_server.url}?db=15"
    with redis.Redis(unix_socket_path=str(redis_server.socket_path), db=15) as client:
        client.flushdb()
    monkeypatch.setenv("STREAMPROXY_REDIS__URL", url)
    for _ in range(2):
        assert "counters" not in done("--keys", "apipoll.csv")
    result = CliRunner().invoke(main, ["key", "list"])
    assert result.exit_code == 0
    assert "120" in result.stdout


def test_counters_that_have_nowhere_to_go_are_reported() -> None:
    assert done("--keys", "apipoll.csv")["counters"] == (0, 1)


def test_a_dry_run_reports_the_same_and_keeps_nothing() -> None:
    planned = done(*ALL, "--dry-run")
    assert user_of("oA_first") is None
    assert keys() == []
    counted = {kind: numbers for kind, numbers in done(*ALL).items() if kind != "counters"}
    assert planned == counted == {"history": (2, 3), "keys": (1, 2), "users": (2, 2)}


def test_an_import_may_be_repeated() -> None:
    done(*ALL)
    again = done(*ALL)
    assert [imported for imported, _ in again.values()] == [0, 0, 0]
    assert len(history_of("oA_first")) == 2
    assert len(keys()) == 1


def test_every_row_that_stays_behind_has_its_reason() -> None:
    said = run(*ALL).stdout
    for reason in (
        "user.csv line 4: ",
        "user.csv line 5: num is no number",
        "apipoll.csv line 3: was out of use there",
        "apipoll.csv line 4: A key is",
        "askhis.csv line 5: nobody here has its openid",
        "askhis.csv line 6: time is not",
        "askhis.csv line 7: ask or answ is empty",
    ):
        assert reason in said, said


def test_a_long_openid_gets_a_name_that_fits() -> None:
    Path("user.csv").write_text(f"openid,num\n{'o' * 100},1\n")
    assert done("--users", "user.csv") == {"users": (1, 0)}
    user = user_of("o" * 100)
    assert user is not None
    assert len(user.name) <= 64


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"openid\nx\n", "no column num"),
        (b"", "no column openid, num"),
        (b"openid,num\n\xff\xfe,1\n", "as CSV in UTF-8"),
    ],
)
def test_another_file_is_refused(content: bytes, why: str) -> None:
    Path("user.csv").write_bytes(content)
    result = run("--users", "user.csv")
    assert (result.exit_code, why in result.stderr) == (1, True), result.stderr


def test_an_upstream_that_nobody_configured_stops_it_all() -> None:
    result = run(*ALL, "--upstream", "nowhere")
    assert (result.exit_code, "no upstream 'nowhere'" in result.stderr) == (1, True)
    assert user_of("oA_first") is None


def test_something_must_be_named() -> None:
    assert run("--dry-run").exit_code == 2
