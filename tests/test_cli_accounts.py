"""Commands about people, on a real database in a folder of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamproxy.cli import main
from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.domain.identity import Principal, Role
from streamproxy.domain.streams import EndReason, Usage, UsageRecord
from streamproxy.errors import AuthenticationError
from streamproxy.settings import Settings, load
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.users import SqlUsers
from tests.support.rootlogger import root_logger_kept


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with root_logger_kept():
        yield


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def done(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def settings() -> Settings:
    return load(None, {}, {}).settings


def principal_of(credential: str) -> Principal:
    async def work(accounts: Accounts) -> Principal:
        return await accounts.auth.authenticate(f"Bearer {credential}")

    return with_accounts(settings(), work)


def test_a_bearer_issued_for_a_new_user_authenticates() -> None:
    done("user", "add", "alice")
    printed = done("token", "issue", "alice", "--days", "1")
    assert printed.count("\n") == 1
    principal = principal_of(printed.strip())
    assert (principal.name, principal.role, principal.credential) == ("alice", Role.USER, "bearer")


def test_an_api_token_authenticates_until_it_is_revoked() -> None:
    done("user", "add", "alice", "--role", "admin")
    printed = done("apitoken", "issue", "alice", "--label", "laptop").strip()
    assert printed.startswith("sk-sp-")
    assert principal_of(printed).role is Role.ADMIN

    listed = done("apitoken", "list", "alice")
    assert f"…{printed[-4:]}" in listed
    assert "laptop" in listed
    assert printed not in listed
    done("apitoken", "revoke", principal_of(printed).credential_id)
    with pytest.raises(AuthenticationError):
        principal_of(printed)
    assert "revoked" in done("apitoken", "list")


def test_the_password_comes_from_standard_input() -> None:
    done("user", "add", "alice", "--password-stdin", stdin="correct horse \n")

    async def work(accounts: Accounts) -> str:
        return (await accounts.auth.verify_password("alice", "correct horse ")).name

    assert with_accounts(settings(), work) == "alice"
    assert run("user", "add", "bob", "--password-stdin", stdin="").exit_code == 2


def test_the_list_shows_everybody() -> None:
    done("user", "add", "zoë", "--openid", "o-1", "--questions", "7")
    done("user", "add", "alice", "--role", "admin")
    head, first, second = done("user", "list").splitlines()
    assert head.split() == ["NAME", "ROLE", "STATE", "QUESTIONS", "CREATED", "ID"]
    assert first.split()[:4] == ["alice", "admin", "active", "any"]
    assert second.split()[:4] == ["zoë", "user", "active", "7"]


def test_a_disabled_user_is_locked_out_and_gets_nothing_new() -> None:
    done("user", "add", "alice")
    bearer = done("token", "issue", "alice").strip()
    done("user", "disable", "alice")
    with pytest.raises(AuthenticationError):
        principal_of(bearer)
    for command in ("token", "apitoken"):
        result = run(command, "issue", "alice")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "alice is disabled" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user", "disable", "nobody"), "There is no user 'nobody'"),
        (("token", "issue", "nobody"), "There is no user 'nobody'"),
        (("usage", "nobody"), "There is no user 'nobody'"),
        (("apitoken", "revoke", "t_none"), "There is no active API token 't_none'"),
        (("user", "add", "a\nb"), "name must be"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_exit_code_1(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")


def test_a_name_is_taken_once() -> None:
    done("user", "add", "alice")
    result = run("user", "add", "alice")
    assert result.exit_code == 1
    assert "taken" in result.stderr


def test_migrate_says_what_it_did() -> None:
    assert done("migrate").startswith("applied ")
    assert done("migrate") == "the database is up to date\n"


def test_usage_is_a_table_by_day_and_model() -> None:
    done("user", "add", "alice")
    asyncio.run(_record_usage())
    head, *rows, total = done("usage", "alice").splitlines()
    assert head.split("  ")[0] == "DAY"
    assert [row.split()[1:] for row in rows] == [
        ["gpt-4o", "2", "200", "20", "0", "0.003000"],
        ["other", "1", "100", "10", "1", "0.001500"],
    ]
    assert total.split() == ["total", "3", "300", "30", "1", "0.004500"]
    assert done("user", "add", "bob")
    assert done("usage", "bob").count("\n") == 1


def test_grants_add_up_and_are_taken_back() -> None:
    done("user", "add", "alice")
    assert done("user", "grant", "alice", "18") == "granted 18 USD to alice: 18.00 in total, 18.00 left\n"
    asyncio.run(_record_usage())
    assert done("user", "grant", "alice", "0.50") == "granted 0.50 USD to alice: 18.50 in total, 18.50 left\n"
    assert done("user", "grant", "alice", "--", "-0.5") == "granted -0.5 USD to alice: 18.00 in total, 18.00 left\n"


@pytest.mark.parametrize("amount", ["", "1.005", "1e3", "NaN", "12345678", "0x1", "1,5", "-", "٣"])
def test_what_is_no_amount_is_granted_to_nobody(amount: str) -> None:
    done("user", "add", "alice")
    result = run("user", "grant", "alice", "--", amount)
    assert result.exit_code == 1
    assert "is not an amount" in result.stderr


async def _record_usage() -> None:
    database = await open_sql(settings().database_url)
    user = await SqlUsers(database).by_name("alice")
    assert user is not None
    ledger = SqlLedger(database)
    await ledger.start()
    for number, model in enumerate(("gpt-4o", "gpt-4o", "other")):
        await ledger.write(_record(f"st_{number}", user.id, model), [])
    await ledger.close()
    await database.close()


def _record(stream_id: str, user_id: str, model: str) -> UsageRecord:
    return UsageRecord(
        stream_id=stream_id,
        request_id=f"r_{stream_id}",
        user_id=user_id,
        session_id=None,
        endpoint="chat",
        model=model,
        upstream="default",
        key_last4="wxyz",
        created=time.time(),
        ttft_ms=10,
        duration_ms=100,
        chunks=10,
        attempts=1,
        usage=Usage(100, 10, estimated=model == "other"),
        end_reason=EndReason.FINISH,
        cost_nano_usd=1_500_000,
    )
