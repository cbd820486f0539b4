"""/admin/keys does what the command ``key`` does, and never shows a key."""

from __future__ import annotations

import itertools

import pytest

from tests.contract.shapes import assert_error
from tests.support.http import Client
from tests.support.proxy import ProxyProcess
from tests.support.upstream import ScriptedUpstream

_numbers = itertools.count(1)


async def add(admin: Client, **fields: object) -> dict[str, object]:
    secret = f"sk-added-by-an-admin-{next(_numbers):04d}"
    answer = await admin.ask("POST", "/admin/keys", {"upstream": "default", "key": secret, **fields})
    assert answer.status == 201, answer.body
    assert secret.encode() not in answer.body
    made: dict[str, object] = answer.json
    assert made["last4"] == secret[-4:]
    return made


async def test_keys_of_the_settings_are_shown_by_their_last_characters(
    patient_proxy: ProxyProcess, admin: Client, upstream: ScriptedUpstream
) -> None:
    page = (await admin.ask("GET", "/admin/keys?limit=500")).json
    assert page["reachable"] is True
    shown = {key["last4"]: key for key in page["data"]}
    text = (await admin.ask("GET", "/admin/keys?limit=500")).body
    for secret in patient_proxy.keys:
        assert secret.encode() not in text
        assert shown[secret[-4:]]["source"] == "settings"
        assert shown[secret[-4:]]["upstream"] == "default"


async def test_pages_show_every_key_once(admin: Client, upstream: ScriptedUpstream) -> None:
    whole = [key["id"] for key in (await admin.ask("GET", "/admin/keys?limit=500")).json["data"]]
    first = (await admin.ask("GET", "/admin/keys?limit=100")).json
    rest = (await admin.ask("GET", f"/admin/keys?limit=500&after={first['last_id']}")).json
    assert [key["id"] for key in first["data"] + rest["data"]] == whole
    assert assert_error(await admin.ask("GET", "/admin/keys?after=nothing"), 404)["code"] == "cursor_not_found"


async def test_a_new_key_is_there_until_it_is_removed(admin: Client, upstream: ScriptedUpstream) -> None:
    key = await add(admin, weight=3, requests="500/min", tokens="200000/min", streams=4)
    assert (key["source"], key["state"], key["held"], key["until"]) == ("added", "healthy", False, None)
    path = f"/admin/keys/{key['id']}"
    assert (await admin.ask("GET", path)).json == key
    assert (await admin.ask("DELETE", path)).status == 204
    assert assert_error(await admin.ask("GET", path), 404)["code"] == "key_not_found"
    assert assert_error(await admin.ask("DELETE", path), 404)["code"] == "key_not_found"


async def test_a_key_is_kept_once(admin: Client, upstream: ScriptedUpstream) -> None:
    body = {"upstream": "default", "key": "sk-the-same-key-twice-0001"}
    assert (await admin.ask("POST", "/admin/keys", body)).status == 201
    assert_error(await admin.ask("POST", "/admin/keys", body), 409)


async def test_a_disabled_key_is_enabled_again(admin: Client, upstream: ScriptedUpstream) -> None:
    path = f"/admin/keys/{(await add(admin))['id']}"
    disabled = (await admin.ask("PATCH", path, {"disabled": True})).json
    assert (disabled["state"], disabled["held"]) == ("disabled", True)
    enabled = (await admin.ask("PATCH", path, {"disabled": False})).json
    assert (enabled["state"], enabled["held"]) == ("healthy", False)


async def test_a_probe_says_whether_the_key_works(admin: Client, upstream: ScriptedUpstream) -> None:
    key = await add(admin)
    answer = await admin.ask("POST", f"/admin/keys/{key['id']}/probe")
    assert answer.json == {"object": "key.probe", "id": key["id"], "fault": None}


async def test_a_key_of_the_settings_is_not_removed_here(admin: Client, upstream: ScriptedUpstream) -> None:
    first = (await admin.ask("GET", "/admin/keys?limit=1")).json["data"][0]
    assert_error(await admin.ask("DELETE", f"/admin/keys/{first['id']}"), 409)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"key": ""}, "key"),
        ({"key": "two words"}, "key"),
        ({"key": "ends in a line\n"}, "key"),
        ({"weight": 0}, "weight"),
        ({"requests": "many"}, "requests"),
        ({"tokens": "1/year"}, "tokens"),
        ({"streams": -1}, "streams"),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_named(admin: Client, change: dict[str, object], param: str) -> None:
    body = {"upstream": "default", "key": "sk-never-kept-0001", **change}
    assert assert_error(await admin.ask("POST", "/admin/keys", body), 400)["param"] == param


async def test_a_key_for_an_unknown_upstream_is_a_404(admin: Client) -> None:
    answer = await admin.ask("POST", "/admin/keys", {"upstream": "nobody", "key": "sk-never-kept-0002"})
    assert assert_error(answer, 404)["code"] == "upstream_not_found"
