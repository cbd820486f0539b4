"""One generation whose words are known beforehand, said when a test wants them said."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from streamproxy.wire.sse import Event
from tests.support.steps import Answer, UpstreamRequest, chunk_of, done, event, finish, usage


def word(number: int) -> str:
    """The text of event *number*."""
    return f"word{number} "


@dataclass(slots=True, eq=False)
class Generation:
    """A stream at the upstream and at the proxy. *harmed*: its owner was killed or seemed dead."""

    owner: int
    stream_id: str = ""
    said: int = 0
    ended: bool = False
    cancelled: bool = False
    harmed: bool = False
    request: UpstreamRequest | None = None
    _words: asyncio.Queue[range | None] = field(default_factory=asyncio.Queue)

    def say(self, count: int, *, at_once: bool = False) -> None:
        """Have the upstream say so many words, each in a write of its own or all *at_once* in one."""
        numbers = range(self.said + 1, self.said + count + 1)
        for part in [numbers] if at_once else [range(number, number + 1) for number in numbers]:
            self._words.put_nowait(part)
        self.said += count

    def end(self) -> None:
        """Have the upstream end well."""
        if not self.ended:
            self.ended = True
            self._words.put_nowait(None)

    @property
    def over(self) -> bool:
        """Nothing more will be said: an ending must come."""
        return self.ended or self.cancelled or self.harmed

    async def step(self, answer: Answer) -> None:
        """The upstream's script."""
        while (numbers := await self._words.get()) is not None:
            await event(*(chunk_of({"content": word(number)}) for number in numbers))(answer)
        for last in (finish(), usage(7, self.said), done()):
            await last(answer)

    async def left(self) -> None:
        """Return when the proxy has let go of the upstream."""
        assert self.request is not None
        await asyncio.shield(self.request.left)

    def check(self, number: int, event: Event) -> None:
        """AssertionError unless *event* is what an uninterrupted run has at that place."""
        assert event.id == f"{self.stream_id}.{number}", f"{event.id} where {number} was due"
        choice = json.loads(event.data)["choices"][0]
        if choice["finish_reason"] is None:
            assert number <= self.said
            assert choice["delta"]["content"] == word(number)
        else:
            assert number == self.said + 1 or self.cancelled
