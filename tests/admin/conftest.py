"""An admin on the patient proxy, and a new user for each test that wants one."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from tests.support.http import Client
from tests.support.proxy import ProxyProcess

MakeUser: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]
_numbers = itertools.count(1)


class Caller(Client):
    """A client that knows whose it is."""

    def __init__(self, port: int, bearer: str, user_id: str) -> None:
        super().__init__(port, bearer)
        self.user_id = user_id


@pytest.fixture(scope="session")
def admin_token(patient_proxy: ProxyProcess) -> str:
    """An API token with the role admin."""
    return patient_proxy.api_token("root", role=Role.ADMIN)


@pytest.fixture
def admin(io_loop: IOLoop, patient_proxy: ProxyProcess, admin_token: str) -> Iterator[Client]:
    client = Client(patient_proxy.port, admin_token)
    yield client
    client.close()
    patient_proxy.check_log()


@pytest.fixture
def make_user(admin: Client) -> MakeUser:
    """Makes an account that no other test knows, with any further fields."""

    async def make(**fields: Any) -> dict[str, Any]:
        answer = await admin.ask("POST", "/admin/users", {"name": f"someone-{next(_numbers)}", **fields})
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json
        return made

    return make


@pytest.fixture
def caller(io_loop: IOLoop, patient_proxy: ProxyProcess, admin: Client, make_user: MakeUser) -> Iterator[Caller]:
    """A client whose account no other test knows: ``GET /admin/...?user_id=`` shows only its own doings."""

    async def token() -> tuple[str, str]:
        user = await make_user()
        issued = await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})
        return issued.json["token"], user["id"]

    client = Caller(patient_proxy.port, *io_loop.run_sync(token))
    yield client
    client.close()
