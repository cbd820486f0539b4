"""What the page asks beside the chat: its conversations, turns taken back, who asks, signing in and out."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie

import pytest

from tests.streams.events import open_events, start
from tests.support.http import Client, Reply
from tests.support.proxy import ProxyProcess
from tests.support.steps import done, finish, say, usage
from tests.support.upstream import ScriptedUpstream

PASSWORD = "correct horse battery"


async def turn(client: Client, question: str, session: str) -> str:
    """One question and its whole answer, written to the ledger; the stream's id."""
    stream = await start(client, question, session_id=session)
    await (await open_events(client, stream["events_url"])).to_the_end()
    stream_id: str = stream["id"]
    while (await client.ask("GET", f"/v1/streams/{stream_id}")).json["state"] != "ended":
        pass  # the ledger is awaited after the last frames
    return stream_id


async def test_a_conversation_is_listed_and_read_again(patient: Client, upstream: ScriptedUpstream) -> None:
    """With what each answer was: model, tokens, cost."""
    upstream.script(say("Hello."), finish(), usage(7, 5), done())
    stream_id = await turn(patient, "Who are  you?", "listed")
    (newest, *_) = (await patient.ask("GET", "/v1/sessions?limit=1")).json["data"]
    assert newest | {"created": 0, "updated": 0} == {
        "object": "session.summary",
        "id": "listed",
        "title": "Who are you?",
        "created": 0,
        "updated": 0,
        "messages": 2,
    }
    answer, question = (await patient.ask("GET", "/v1/sessions/listed/messages")).json["data"]
    assert question["message"] == {"role": "user", "content": "Who are  you?"}
    assert question["answer"] is None
    assert (answer["stream_id"], answer["complete"]) == (stream_id, True)
    assert answer["message"]["content"] == "Hello."
    assert answer["answer"]["completion_tokens"] == 5
    older = await patient.ask("GET", f"/v1/sessions/listed/messages?after={answer['id']}")
    assert [m["id"] for m in older.json["data"]] == [question["id"]]


async def test_a_turn_that_is_taken_back_is_not_remembered(patient: Client, upstream: ScriptedUpstream) -> None:
    """The next question is sent upstream as if the turn had never been; again, it is unknown."""
    upstream.script(say("Yes."), finish(), done())
    await turn(patient, "one", "rewound")
    second = await turn(patient, "two", "rewound")
    await turn(patient, "three", "rewound")
    path = f"/v1/sessions/rewound/turns/{second}"
    assert (await patient.ask("DELETE", path)).status == 200
    await turn(patient, "two, better", "rewound")
    told = [m["content"] for m in json.loads(upstream.requests[-1].body)["messages"]]
    assert told == ["one", "Yes.", "two, better"]
    assert len((await patient.ask("GET", "/v1/sessions/rewound/messages")).json["data"]) == 4
    again = await patient.ask("DELETE", path)
    assert (again.status, again.json["error"]["code"]) == (404, "turn_not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions?limit=0",
        "/v1/sessions?lmit=3",
        "/v1/sessions?after=%20",
        "/v1/sessions/listed/messages?after=x",
        "/v1/sessions/a%20b/messages",
    ],
)
async def test_what_cannot_be_asked_is_refused(patient: Client, path: str) -> None:
    assert (await patient.ask("GET", path)).status == 400


async def test_starting_a_stream_says_where_the_limits_stand(patient: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(say("Yes."), finish(), done())
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    begun = await patient.ask("POST", "/v1/streams", body)
    assert (begun.head.get("RateLimit") or "").startswith('"requests-60";r=')


def cookie_of(reply: Reply) -> tuple[str, SimpleCookie]:
    jar = SimpleCookie(reply.head.get("Set-Cookie"))
    morsel = next(iter(jar.values()))
    return f"{morsel.key}={morsel.value}", jar


async def test_the_page_signs_in_with_a_password_and_out_for_good(patient: Client, patient_proxy: ProxyProcess) -> None:
    """The cookie is for no script to see, and after signing out it opens nothing."""
    patient_proxy.command("user", "add", "paige", "--password-stdin", stdin=PASSWORD)
    own = {"authorization": "", "sec_fetch_site": "same-origin"}
    reply = await patient.ask("POST", "/signin", {"name": "paige", "password": PASSWORD}, **own)
    assert (reply.status, reply.json["name"], reply.json["role"]) == (200, "paige", "user")
    cookie, jar = cookie_of(reply)
    assert all(morsel["httponly"] and morsel["samesite"] == "Strict" for morsel in jar.values())
    me = await patient.ask("GET", "/v1/me", cookie=cookie, **own)
    assert (me.json["name"], me.json["credential"], me.json["session_seconds"]) == ("paige", "cookie", 1800)
    assert (await patient.ask("POST", "/signout", {}, cookie=cookie, **own)).status == 200
    assert (await patient.ask("GET", "/v1/me", cookie=cookie, **own)).status == 401


async def test_a_wrong_password_gives_no_cookie(patient: Client) -> None:
    own = {"authorization": "", "sec_fetch_site": "same-origin"}
    reply = await patient.ask("POST", "/signin", {"name": "paige", "password": "wrong"}, **own)
    assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_credentials")
    assert reply.head.get("Set-Cookie") is None


@pytest.mark.parametrize("path", ["/signin", "/signout"])
async def test_another_site_cannot_sign_a_reader_in_or_out(patient: Client, path: str) -> None:
    reply = await patient.ask(
        "POST", path, {"name": "paige", "password": PASSWORD}, authorization="", sec_fetch_site="cross-site"
    )
    assert reply.status == 403
    assert reply.head.get("Set-Cookie") is None
