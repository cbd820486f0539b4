"""/admin/tokens does what the command ``apitoken`` does."""

from __future__ import annotations

from tests.admin.conftest import MakeUser
from tests.contract.shapes import assert_error
from tests.support.http import Client


async def test_a_token_is_shown_once_and_then_by_its_last_characters(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    issued = await admin.ask("POST", "/admin/tokens", {"user_id": user["id"], "label": "laptop"})
    assert issued.status == 201
    secret = issued.json["token"]
    listed = (await admin.ask("GET", f"/admin/tokens?user_id={user['id']}")).json["data"]
    assert listed == [
        {
            "object": "api_token",
            "id": issued.json["id"],
            "user_id": user["id"],
            "user_name": user["name"],
            "label": "laptop",
            "last4": secret[-4:],
            "revoked": False,
            "created": issued.json["created"],
        }
    ]
    assert (await admin.ask("GET", "/v1/models", authorization=f"Bearer {secret}")).status == 200


async def test_a_revoked_token_opens_nothing_and_stays_in_the_list(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    token = (await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})).json
    await admin.ask("GET", "/v1/models", authorization=f"Bearer {token['token']}")
    assert (await admin.ask("DELETE", f"/admin/tokens/{token['id']}")).status == 204
    assert_error(await admin.ask("GET", "/v1/models", authorization=f"Bearer {token['token']}"), 401)
    (kept,) = (await admin.ask("GET", f"/admin/tokens?user_id={user['id']}")).json["data"]
    assert kept["revoked"] is True
    again = await admin.ask("DELETE", f"/admin/tokens/{token['id']}")
    assert assert_error(again, 404)["code"] == "token_not_found"


async def test_a_token_for_nobody_is_a_404_that_names_the_field(admin: Client) -> None:
    error = assert_error(await admin.ask("POST", "/admin/tokens", {"user_id": "u_nobody"}), 404)
    assert (error["code"], error["param"]) == ("user_not_found", "user_id")


async def test_pages_show_every_token_of_a_user_once(admin: Client, make_user: MakeUser) -> None:
    user = await make_user()
    made = [(await admin.ask("POST", "/admin/tokens", {"user_id": user["id"]})).json["id"] for _ in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = (await admin.ask("GET", f"/admin/tokens?user_id={user['id']}&limit=2{after}")).json
        seen += [token["id"] for token in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert seen == made
