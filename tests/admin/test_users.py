"""/admin/users does what the commands ``user`` and ``token`` do."""

from __future__ import annotations

from tests.admin.conftest import MakeUser
from tests.contract.shapes import assert_error
from tests.support.http import Client
from tests.support.proxy import ProxyProcess
from tests.support.upstream import ScriptedUpstream


async def test_a_new_user_is_shown_without_any_secret(admin: Client, make_user: MakeUser) -> None:
    user = await make_user(password="correct horse", questions=3, email="a@example.org", openid="wx-1")
    assert user == {
        "object": "user",
        "id": user["id"],
        "name": user["name"],
        "role": "user",
        "disabled": False,
        "openid": "wx-1",
        "email": "a@example.org",
        "questions": 3,
        "has_password": True,
        "created": user["created"],
    }
    assert (await admin.ask("GET", f"/admin/users/{user['id']}")).json == user


async def test_a_new_user_is_where_the_answer_says(admin: Client) -> None:
    made = await admin.ask("POST", "/admin/users", {"name": "located"})
    assert (await admin.ask("GET", made.head.get("Location") or "missing")).json == made.json


async def test_a_name_is_taken_once(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    answer = await admin.ask("POST", "/admin/users", {"name": user["name"]})
    assert assert_error(answer, 409)["code"] == "conflict"


async def test_an_unknown_user_is_a_404(admin: Client) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/bearers"), ("DELETE", "/bearers")):
        answer = await admin.ask(method, f"/admin/users/u_nobody{path}", {} if method in ("PATCH", "POST") else None)
        assert assert_error(answer, 404)["code"] == "user_not_found"


async def test_pages_show_every_user_once(admin: Client, make_user: MakeUser) -> None:
    made = {(await make_user())["id"] for _ in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        page = (await admin.ask("GET", f"/admin/users?limit=2{after}")).json
        assert page["object"] == "list"
        seen += [user["id"] for user in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == 2
        assert page["last_id"] == seen[-1]
        after = f"&after={page['last_id']}"
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_a_page_after_nobody_is_a_404(admin: Client) -> None:
    answer = await admin.ask("GET", "/admin/users?after=u_nobody")
    assert assert_error(answer, 404) == {
        "message": "after must be the last_id of an earlier page",
        "type": "invalid_request_error",
        "param": "after",
        "code": "cursor_not_found",
    }


async def test_what_is_not_named_in_a_change_stays(admin: Client, make_user: MakeUser) -> None:
    user = await make_user(questions=3)
    path = f"/admin/users/{user['id']}"
    assert (await admin.ask("PATCH", path, {})).json == user
    assert (await admin.ask("PATCH", path, {"role": "admin"})).json == {**user, "role": "admin"}
    assert (await admin.ask("PATCH", path, {"questions": None})).json == {**user, "role": "admin", "questions": None}


async def test_a_disabled_user_is_shut_out_and_let_in_again(
    patient_proxy: ProxyProcess, admin: Client, make_user: MakeUser
) -> None:
    """Bearers are gone for good, API tokens work again."""
    user = await make_user()
    path = f"/admin/users/{user['id']}"
    bearer = (await admin.ask("POST", f"{path}/bearers", {})).json["bearer"]
    token = (await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})).json["token"]
    for credential in (bearer, token):
        assert (await admin.ask("GET", "/v1/models", authorization=f"Bearer {credential}")).status == 200

    assert (await admin.ask("PATCH", path, {"disabled": True})).json["disabled"] is True
    for credential in (bearer, token):
        assert_error(await admin.ask("GET", "/v1/models", authorization=f"Bearer {credential}"), 401)
    assert assert_error(await admin.ask("POST", f"{path}/bearers", {}), 409)["code"] == "user_disabled"
    answer = await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})
    assert assert_error(answer, 409)["code"] == "user_disabled"

    assert (await admin.ask("PATCH", path, {"disabled": False})).json == user
    assert (await admin.ask("GET", "/v1/models", authorization=f"Bearer {token}")).status == 200
    assert_error(await admin.ask("GET", "/v1/models", authorization=f"Bearer {bearer}"), 401)


async def test_a_new_password_signs_out_everywhere(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    path = f"/admin/users/{user['id']}"
    bearer = (await admin.ask("POST", f"{path}/bearers", {"days": 1})).json["bearer"]
    changed = (await admin.ask("PATCH", path, {"password": "another one"})).json
    assert changed == {**user, "has_password": True}
    assert_error(await admin.ask("GET", "/v1/models", authorization=f"Bearer {bearer}"), 401)


async def test_all_bearers_of_a_user_are_revoked_together(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    path = f"/admin/users/{user['id']}/bearers"
    bearers = [(await admin.ask("POST", path, {})).json["bearer"] for _ in range(2)]
    answer = await admin.ask("DELETE", path)
    assert answer.json == {"object": "bearers.revoked", "user_id": user["id"], "revoked": 2}
    for bearer in bearers:
        assert_error(await admin.ask("GET", "/v1/models", authorization=f"Bearer {bearer}"), 401)
    assert (await admin.ask("DELETE", path)).json["revoked"] == 0


async def test_an_admin_cannot_lock_themselves_out(admin: Client) -> None:
    users = (await admin.ask("GET", "/admin/users?limit=500")).json["data"]
    (own,) = [user for user in users if user["name"] == "root"]
    for change in ({"disabled": True}, {"role": "user"}):
        answer = await admin.ask("PATCH", f"/admin/users/{own['id']}", change)
        assert assert_error(answer, 403)["code"] == "own_account"
    assert (await admin.ask("GET", f"/admin/users/{own['id']}")).json == own


async def test_a_role_takes_effect(admin: Client, make_user: MakeUser, upstream: ScriptedUpstream) -> None:
    user = await make_user(role="admin")
    token = (await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})).json["token"]
    asked = {"authorization": f"Bearer {token}"}
    assert (await admin.ask("GET", "/admin/users", **asked)).status == 200
    await admin.ask("PATCH", f"/admin/users/{user['id']}", {"role": "user"})
    assert_error(await admin.ask("GET", "/admin/users", **asked), 403)
