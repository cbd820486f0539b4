"""A conversation: question after question, each answered on the screen, stopped by Ctrl-C, resumed when cut."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from streamproxy.cli.terminal.connection import Connection, Credential, RefusedError
from streamproxy.cli.terminal.screen import Answer, plain, receipt_line
from streamproxy.cli.terminal.unfinished import Unfinished
from streamproxy.errors import StreamProxyError
from streamproxy.wire.sse import Event


class Talk:
    """One session with *model* at *url*."""

    def __init__(self, console: Console, *, url: str, credential: Credential, model: str, session_id: str) -> None:
        self._console = console
        self._url = url
        self._credential = credential
        self._model = model
        self._session_id = session_id
        self._unfinished = Unfinished(url, session_id)

    async def begin(self) -> None:
        """Show what was said before, and go on with an answer that was left in its middle."""
        async with Connection(self._url, self._credential) as connection:
            for message in await connection.session(self._session_id):
                self._show(str(message.get("role")), message.get("content"))
            stream_id = self._unfinished.read()
            if stream_id is not None:
                await self._finish(connection, stream_id)

    async def ask(self, question: str) -> None:
        """Ask and show the answer. StreamProxyError or RefusedError when there is none."""
        async with Connection(self._url, self._credential) as connection:
            await self._read(connection, await self._start(connection, question))

    async def _start(self, connection: Connection, question: str) -> str:
        """Who is over a limit waits as long as the server says, or presses Ctrl-C."""
        while True:
            try:
                return await connection.start(self._model, self._session_id, question)
            except RefusedError as refusal:
                if refusal.retry_after is None or refusal.status != 429:
                    raise
                await self._wait(plain(refusal.message), round(refusal.retry_after))

    async def _wait(self, why: str, seconds: int) -> None:
        with self._console.status("") as status:
            for left in range(seconds, 0, -1):
                status.update(Text(f"{why} It goes on in {left} s; Ctrl-C gives up.", style="dim"))
                await asyncio.sleep(1)

    async def _finish(self, connection: Connection, stream_id: str) -> None:
        try:
            await self._read(connection, stream_id)
        except RefusedError as refusal:
            if refusal.status not in {404, 410}:
                raise
            self._unfinished.remove()  # it is no longer held; what it said is in the session

    async def _read(self, connection: Connection, stream_id: str) -> None:
        self._unfinished.write(stream_id)
        with Answer(self._console) as answer:
            async with stopped_by_interrupt(connection, stream_id, answer):
                ending = await _shown(connection, stream_id, answer)
        self._unfinished.remove()
        said = json.loads(ending.data)
        if ending.event == "failed":
            raise StreamProxyError(plain(str(said["error"]["message"])))
        if self._console.is_terminal:
            self._console.print(Text(receipt_line(said), style="dim"))

    def _show(self, role: str, content: object) -> None:
        if not isinstance(content, str) or role not in {"user", "assistant"}:
            return
        if role == "user":
            self._console.print(Text(f"> {plain(content)}", style="bold"))
        else:
            self._console.print(Markdown(plain(content)))


async def _shown(connection: Connection, stream_id: str, answer: Answer) -> Event:
    """Show an answer to its end; the terminal event."""
    async for event in connection.events(stream_id):
        if event is None:
            answer.note("The connection was lost; it is being restored.")
        elif event.event in {"done", "failed"}:
            return event
        elif event.event == "message":
            choices = json.loads(event.data).get("choices") or [{}]
            text = (choices[0].get("delta") or {}).get("content")
            if isinstance(text, str):
                answer.add(text)
    raise AssertionError("events end with a terminal one")


@asynccontextmanager
async def stopped_by_interrupt(connection: Connection, stream_id: str, answer: Answer) -> AsyncIterator[None]:
    """Ctrl-C inside ends the answer at the server, whose ending is then read as any other. A second one leaves."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    cancelling: list[asyncio.Task[None]] = []

    def interrupt() -> None:
        if cancelling and task is not None:
            task.cancel()
        else:
            answer.note("It is being stopped; Ctrl-C once more leaves.")
            cancelling.append(loop.create_task(_cancel(connection, stream_id)))

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for one in cancelling:
            one.cancel()
        await asyncio.gather(*cancelling, return_exceptions=True)


async def _cancel(connection: Connection, stream_id: str) -> None:
    try:
        await connection.cancel(stream_id)
    except RefusedError:
        return  # it has ended by itself, or the connection is away: then a second Ctrl-C leaves
