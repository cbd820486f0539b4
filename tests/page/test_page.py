"""The chat page as it is served. How it behaves in a browser is another suite's matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from tornado.ioloop import IOLoop

from streamproxy.handlers.page import page_files
from tests.support.http import Client
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_MARKUP_REFERENCE = re.compile(r"(?:href|src)=\"(?:\.\./)?(static/[^\"]+)\"")
_IMPORT = re.compile(r"from \"\./([^\"]+)\"")


@pytest.fixture(scope="module")
def open_proxy(start_proxy: StartProxy) -> ProxyProcess:
    """A proxy that welcomes guests."""
    return start_proxy(AUTH__GUEST="true")


@pytest.fixture
def visitor(io_loop: IOLoop, open_proxy: ProxyProcess) -> Iterator[Client]:
    """A browser that has never been here."""
    client = Client(open_proxy.port)
    yield client
    client.close()
    open_proxy.check_log()


async def test_the_page_lets_nothing_run_that_is_not_its_own(visitor: Client) -> None:
    page = await visitor.ask("GET", "/")
    policy = page.head.get("Content-Security-Policy") or ""
    assert page.status == 200
    assert page.head.get("Content-Type") == "text/html; charset=utf-8"
    assert page.head.get("X-Content-Type-Options") == "nosniff"
    assert {"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"} <= set(policy.split("; "))
    assert "unsafe" not in policy
    assert not re.search(rb"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", page.body), "the policy would block this"


async def test_every_file_that_the_page_refers_to_is_there_and_of_its_kind(visitor: Client) -> None:
    page = await visitor.ask("GET", "/")
    wanted = _MARKUP_REFERENCE.findall(page.body.decode())
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        reply = await visitor.ask("GET", f"/{path}")
        assert reply.status == 200, path
        assert reply.head.get("Content-Type") == f"{KINDS[path.rpartition('.')[2]]}; charset=utf-8"
        wanted += [f"static/{name}" for name in _IMPORT.findall(reply.body.decode())]
    assert {"static/chat.js", "static/sse.js", "static/markdown.js", "static/style.css", "static/icon.svg"} <= seen


async def test_every_file_is_used_by_a_page(visitor: Client) -> None:
    """What no page refers to is dead."""
    seen: set[str] = {"static/index.html"}
    wanted = [f"static/{name}" for name in ("docs.css", "index.html", "operator.html")]
    while wanted:
        path = wanted.pop()
        body = (await visitor.ask("GET", f"/{path}")).body.decode()
        found = {*_MARKUP_REFERENCE.findall(body), *(f"static/{name}" for name in _IMPORT.findall(body))}
        wanted += sorted(found - seen)
        seen |= {path, *found}
    assert {f"static/{name}" for name in page_files()} == seen


async def test_nothing_on_the_page_parses_html(visitor: Client) -> None:
    for name in sorted(page_files()):
        script = (await visitor.ask("GET", f"/static/{name}")).body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


async def test_both_languages_say_all_that_the_page_has_to_say(visitor: Client) -> None:
    page = (await visitor.ask("GET", "/")).body.decode()
    english, chinese = [
        set(re.findall(r"^ +(\w+):", (await visitor.ask("GET", f"/static/{name}.js")).body.decode(), re.MULTILINE))
        for name in ("english", "chinese")
    ]
    assert english == chinese
    assert set(re.findall(r"data-(?:text|label|hint)=\"(\w+)\"", page)) <= english


async def test_a_guest_gets_a_cookie_that_scripts_cannot_read_and_may_chat_with_it(visitor: Client) -> None:
    page = await visitor.ask("GET", "/")
    cookie = next(iter(SimpleCookie(page.head.get("Set-Cookie")).values()))
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    models = await visitor.ask("GET", "/v1/models", cookie=f"{cookie.key}={cookie.value}")
    assert models.status == 200
    again = await visitor.ask("GET", "/", cookie=f"{cookie.key}={cookie.value}")
    assert again.head.get("Set-Cookie") is None, "a guest who is known stays the same guest"


async def test_where_guests_are_not_welcome_the_page_comes_without_a_cookie(patient: Client) -> None:
    page = await patient.ask("GET", "/", authorization="")
    assert page.status == 200
    assert page.head.get("Set-Cookie") is None
