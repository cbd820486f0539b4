"""A newcomer who follows the README: from the server to a typewriter in a page of their own.

``python -m tests.docs.newcomer`` begins with a clone and ``make run``, as the README does, and says how long it took.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import async_playwright

from tests.browser.chromium import Chromium
from tests.browser.growth import Growth
from tests.docs.documents import ROOT, environment, script, snippets
from tests.support.processes import find_program, free_port, wait_until

# What the demo model says to it is long enough to be seen growing.
QUESTION = "What are you?"
STEPS = 20


@contextmanager
def own_page(folder: Path, document: Path, *, port: int) -> Iterator[str]:
    """Make and serve the page of *document* as it says, in *folder*, against the server on *port*; its address."""
    *makes, serves = snippets(document, "page")
    account = snippets(ROOT / "README.md")[0]
    page_port = free_port()
    text = script([account, *makes, serves], port=port).replace("5173", str(page_port))
    command = [find_program("bash", package="bash"), "-c", text]
    with (folder / "page.log").open("wb") as log:
        shell = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True)
    try:

        def served() -> bool:
            assert shell.poll() is None, (folder / "page.log").read_text()
            return _answers(page_port, "/")

        wait_until(served, "the page is served", 120)
        yield f"http://127.0.0.1:{page_port}/"
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()


async def ask(address: str, endpoint: str) -> list[str]:
    """Open the page in the browser at *endpoint* and ask; what was shown, step by step."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(endpoint)
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        growth = Growth(page, "p")
        await growth.begin()
        await page.get_by_label("Question").fill(QUESTION)
        await page.get_by_role("button", name="Ask").click()
        await page.wait_for_function("n => globalThis.__growth.p.length > n", arg=STEPS, timeout=60_000)
        await page.get_by_role("button", name="Stop").click()
        steps = [step.text for step in await growth.steps()]
        await context.close()
        await browser.close()
    return steps


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Clone, ``make run``, the page of the README, a question."""
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "streamproxy"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        tell("cloned")
        port = free_port()
        command = ["make", "run", f"PORT={port}"]
        with (Path(name) / "server.log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        chromium = Chromium(Path(name))
        try:
            wait_until(lambda: _answers(port, "/readyz"), "make run serves", 280)
            tell("make run serves")
            chromium.start()
            with own_page(folder, folder / "README.md", port=port) as address:
                tell("the page is served")
                steps = asyncio.run(ask(address, chromium.endpoint))
            tell(f"the answer has grown in {len(steps)} steps: {' '.join(steps[-1].split())[:60]} …")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
            if chromium.endpoint:
                chromium.stop()


if __name__ == "__main__":
    sys.exit(main())
