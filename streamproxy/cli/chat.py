"""The command chat: a conversation in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys

import click
from rich.console import Console

from streamproxy.cli.terminal.connection import Connection, Credential, RefusedError
from streamproxy.cli.terminal.talk import Talk
from streamproxy.domain.sessions import checked_session_id
from streamproxy.errors import AuthenticationError, NotFoundError, StreamProxyError

TOKEN_VARIABLE = "SP_TOKEN"  # noqa: S105 - the name of a variable

# Ctrl-C where there is nothing to stop, or again while an answer is being stopped.
LEFT = (KeyboardInterrupt, asyncio.CancelledError)


@click.command()
@click.argument("question", required=False)
@click.option("--session", metavar="ID", help="Go on with this conversation.  [default: a new one]")
@click.option("--model", metavar="NAME", help="Model to ask.  [default: the first that the server names]")
@click.option("--url", default="http://127.0.0.1:8888", show_default=True, metavar="URL", help="Where the server is.")
@click.option("--token-stdin", is_flag=True, help="Read the bearer or API token from the first line of standard input.")
def chat(*, question: str | None, session: str | None, model: str | None, url: str, token_stdin: bool) -> None:
    """Talk to a running server: answers write themselves, with Markdown, in the terminal.

    With QUESTION it is answered and the command ends; without, it asks for questions until Ctrl-D.
    Ctrl-C stops an answer; what was said stays in the conversation. A lost connection is restored, and
    the answer goes on where it was, also when the command itself is started again with the same --session.

    The token is taken from $SP_TOKEN or --token-stdin; without one it talks as a guest, where the
    server takes guests. A conversation is remembered for 30 minutes.

    \b
    Examples:
      streamproxy chat
      SP_TOKEN=$(streamproxy token issue alice) streamproxy chat --session monday
      streamproxy chat "What are you?" > answer.md
    """
    console = Console(highlight=False)
    session_id = checked_session_id(session) if session else secrets.token_hex(8)
    token = _token_from_stdin() if token_stdin else os.environ.get(TOKEN_VARIABLE, "")
    try:
        talk = asyncio.run(_opened(console, url=url, token=token, model=model, session_id=session_id))
        if question is not None:
            asyncio.run(talk.ask(question))
            return
        _converse(console, talk)
    except LEFT:
        raise click.exceptions.Exit(130) from None
    if console.is_terminal:
        console.print(f"Go on with: streamproxy chat --session {session_id}", style="dim")


async def _opened(console: Console, *, url: str, token: str, model: str | None, session_id: str) -> Talk:
    """A talk that has begun: the credential is good, and there is a model."""
    credential = Credential.bearer(token) if token else Credential({})
    if not token:
        async with Connection(url, credential) as connection:
            guest = await connection.guest()
        if guest is None:
            raise AuthenticationError(
                f"This server takes no guests. Put a token into ${TOKEN_VARIABLE} or give --token-stdin; whoever runs "
                "the server makes one with: streamproxy apitoken issue NAME"
            )
        credential = guest
    async with Connection(url, credential) as connection:
        models = await connection.models()
    if not models and model is None:
        raise NotFoundError("The server names no models. Say which with --model.")
    talk = Talk(console, url=url, credential=credential, model=model or models[0], session_id=session_id)
    await talk.begin()
    return talk


def _token_from_stdin() -> str:
    """The first line; on a terminal it is not shown as it is typed."""
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True)).strip()
    return sys.stdin.readline().strip()


def _converse(console: Console, talk: Talk) -> None:
    """Ask for questions until the input ends. What fails is told, and the next question may be asked."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it gives input() its line editing and history
    while True:
        try:
            question = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not question.strip():
            continue
        try:
            asyncio.run(talk.ask(question))
        except LEFT:
            console.print("Left; an answer that has begun goes on without you.", style="dim")
        except (StreamProxyError, RefusedError) as fault:
            click.echo(f"Error: {fault.message}", err=True)
