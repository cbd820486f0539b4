"""/admin/failures tells what ended with an error, /admin/limits what each user may use."""

from __future__ import annotations

from tests.admin.conftest import Caller
from tests.support.http import Client
from tests.support.steps import done, drop, finish, say
from tests.support.upstream import ScriptedUpstream


async def test_what_ended_with_an_error_is_listed_newest_first_in_pages(
    admin: Client, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """What ended well is not."""
    upstream.once(say("Hel"), drop())
    upstream.once(say("Hello"), finish(), done())
    upstream.once(say("Wor"), drop())
    for _ in range(3):
        await caller.chat()
    own = []
    while len(own) < 2:  # the ledger is written behind the end of a stream
        listed = (await admin.ask("GET", "/admin/failures?limit=500")).json["data"]
        own = [failure for failure in listed if failure["user_id"] == caller.user_id]
    newest, older = own
    assert newest["created"] >= older["created"]
    assert newest["error_code"].startswith("upstream")
    assert (newest["object"], newest["end_reason"], newest["model"]) == ("failure", "upstream_error", "gpt-4o-mini")
    after = (await admin.ask("GET", f"/admin/failures?after={newest['id']}")).json["data"]
    assert newest["id"] not in [failure["id"] for failure in after]
    assert older["id"] in [failure["id"] for failure in after]
    unknown = await admin.ask("GET", "/admin/failures?after=st_unknown")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "cursor_not_found")


async def test_the_limits_in_force_are_told(admin: Client) -> None:
    limits = (await admin.ask("GET", "/admin/limits")).json
    assert limits == {
        "object": "limits",
        "requests": "100000/min",
        "tokens": "",
        "streams": 1000,
        "timezone": "UTC",
        "on_redis_down": "local",
    }
