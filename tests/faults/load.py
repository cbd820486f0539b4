"""Callers that ask one short question after another, each answer their own; whatever else happens is an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.e2e.talk import MODEL, PATH, acknowledged
from tests.support.http import Client, Connection, chat


@dataclass(slots=True)
class Load:
    """Half of the callers open a connection for each question, half keep theirs until the server closes it."""

    clients: Sequence[Client]
    answered: int = 0
    errors: list[str] = field(default_factory=list)
    _over: bool = False

    async def run(self, callers: int) -> None:
        """Until ``end``."""
        await asyncio.gather(*(self._call(number) for number in range(callers)))

    def end(self) -> None:
        self._over = True

    async def _call(self, number: int) -> None:
        client, kept = self.clients[number % len(self.clients)], None
        asked = 0
        while not self._over:
            asked += 1
            question = f"{number}-{asked}"
            try:
                kept = await self._ask(client, question, kept, keep=number % 2 == 0)
                self.answered += 1
            except (AssertionError, OSError, ValueError) as error:
                self.errors.append(f"{question}: {error!r}")
                kept = None

    @staticmethod
    async def _ask(client: Client, question: str, kept: Connection | None, *, keep: bool) -> Connection | None:
        connection = kept or await client.connect()
        stream = len(question) % 2 == 0
        await client.send_on(connection, "POST", PATH, chat(question, stream=stream) | {"model": MODEL})
        answer = await connection.reply()
        assert answer.status == 200, f"{answer.status} {answer.body[:300]!r}"
        said = answer.text() if stream else answer.json["choices"][0]["message"]["content"]
        assert said == acknowledged(question), said
        if keep and answer.head.get("Connection") != "close":
            return connection
        connection.leave()
        return None
