"""Proxies of their own for what keys do: each test decides which of them are any good."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tornado.ioloop import IOLoop

from tests.support.http import Client, Reply
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess
from tests.support.steps import Step, echo, error_of, reply
from tests.support.upstream import ScriptedUpstream

PLANTED = "sk-planted-0123456789abcdef"
DEAD, BROKE, GOOD = f"{PLANTED}-dead", f"{PLANTED}-brok", f"{PLANTED}-good"
REFUSED = reply(401, error_of(f"Incorrect API key provided: {DEAD}.", code="invalid_api_key"))
OUT_OF_QUOTA = reply(429, error_of("You exceeded your current quota.", code="insufficient_quota"))
GOOD_ANSWER: tuple[Step, ...] = (echo(),)

NewProxy = Callable[..., ProxyProcess]


@pytest.fixture
def new_proxy(start_proxy: StartProxy) -> Iterator[NewProxy]:
    """Starts proxies that end with the test."""
    started: list[ProxyProcess] = []

    def start(*keys: str, **settings: str) -> ProxyProcess:
        proxy = start_proxy(UPSTREAM__API_KEYS=",".join(keys), **settings)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        proxy.put_away()


@pytest.fixture
def caller(io_loop: IOLoop) -> Iterator[Callable[[ProxyProcess], Client]]:
    """A client of a proxy, whose connections are closed at the end."""
    clients: list[Client] = []

    def connect(proxy: ProxyProcess) -> Client:
        clients.append(Client(proxy.port, proxy.bearer("tester")))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def used(upstream: ScriptedUpstream) -> Counter[str]:
    """How many chat requests came with which key, by last 4."""
    return Counter((request.header("Authorization") or "")[-4:] for request in upstream.requests)


async def command(proxy: ProxyProcess, *arguments: str, stdin: str = "") -> str:
    """Run a command while this loop goes on: the upstream that it may call lives here."""
    return await asyncio.to_thread(proxy.command, *arguments, stdin=stdin)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``key list``."""

    id: str
    upstream: str
    key: str
    origin: str
    state: str
    until: str
    requests: str
    errors: str
    last_error: str
    why: str


async def rows(proxy: ProxyProcess) -> dict[str, Row]:
    """What ``key list`` says, by last 4."""
    lines = (await command(proxy, "key", "list")).splitlines()[1:]
    found = [Row(*re.split(r"\s{2,}", line)) for line in lines]
    return {row.key[1:]: row for row in found}


async def metric(client: Client, name: str, **labels: str) -> float:
    """The sum of the samples called *name* that carry *labels*."""
    answer = await client.ask("GET", "/metrics")
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = answer.body.decode().splitlines()
    found = [line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def error_code(answer: Reply) -> str:
    code: str = answer.json["error"]["code"]
    return code


def said(answer: Reply) -> str:
    """What the model said, streamed or whole."""
    if (answer.head.get("Content-Type") or "").startswith("text/event-stream"):
        return answer.text()
    text: str = answer.json["choices"][0]["message"]["content"]
    return text
