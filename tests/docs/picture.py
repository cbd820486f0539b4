"""Records the moving picture of the README: the chat page of a fresh server, asked in a real browser.

``python -m tests.docs.picture`` writes ``docs/typewriter.gif``.
"""

from __future__ import annotations

import asyncio
import base64
import io
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page, async_playwright

from tests.browser.chromium import Chromium
from tests.docs.documents import ROOT, environment, furnish
from tests.support.processes import free_port, readiness, stop, wait_until

PICTURE = ROOT / "docs" / "typewriter.gif"
WIDTH, HEIGHT = 880, 560
QUESTION = "What are you?"
MOST_BYTES = 1_500_000
FRAME_SECONDS = 0.08
LAST_SECONDS = 3.0
# Letters on paper need few; the fewer, the smaller the file.
COLOURS = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """What was on the screen from *at* on, in seconds."""

    at: float
    png: bytes


async def record(address: str, endpoint: str) -> list[Frame]:
    """Open the page, ask, and wait until the answer has ended; every change that Chromium painted."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(endpoint)
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB", color_scheme="light"
        )
        page = await context.new_page()
        await page.goto(address)
        await page.wait_for_load_state("networkidle")
        frames = await _filmed(page)
        await context.close()
        await browser.close()
    return frames


async def _filmed(page: Page) -> list[Frame]:
    frames: list[Frame] = []
    session = await page.context.new_cdp_session(page)
    acknowledged: set[asyncio.Task[Any]] = set()

    def keep(painted: dict[str, Any]) -> None:
        frames.append(Frame(float(painted["metadata"]["timestamp"]), base64.b64decode(painted["data"])))
        acknowledged.add(
            asyncio.ensure_future(session.send("Page.screencastFrameAck", {"sessionId": painted["sessionId"]}))
        )

    session.on("Page.screencastFrame", keep)
    await session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    box = page.get_by_role("textbox").last
    await box.click()
    await box.press_sequentially(QUESTION, delay=70)
    await box.press("Enter")
    await page.locator(".answer").wait_for()
    await page.wait_for_function("() => !document.querySelector('[aria-busy=true]')", timeout=90_000)
    await page.mouse.move(0, 0)
    await session.send("Page.stopScreencast")
    await asyncio.gather(*acknowledged)
    frames.append(Frame(time.time(), await page.screenshot()))
    return frames


def animated(frames: Sequence[Frame]) -> bytes:
    """A GIF of *frames* in the time they took, at most one picture every FRAME_SECONDS."""
    chosen = [frames[0]]
    for frame in frames[1:-1]:
        if frame.at - chosen[-1].at >= FRAME_SECONDS:
            chosen.append(frame)
    chosen.append(frames[-1])
    # One palette for all of them, made of the last and fullest one: colours that change from frame to frame flicker.
    palette = _opened(chosen[-1]).quantize(COLOURS)
    pictures = [_opened(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in chosen]
    milliseconds = [max(20, round((later.at - earlier.at) * 1000)) for earlier, later in pairwise(chosen)]
    made = io.BytesIO()
    pictures[0].save(
        made,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[*milliseconds, round(LAST_SECONDS * 1000)],
        loop=0,
        optimize=False,
        disposal=1,
    )
    return made.getvalue()


def _opened(frame: Frame) -> Image.Image:
    picture = Image.open(io.BytesIO(frame.png)).convert("RGB")
    return picture if picture.size == (WIDTH, HEIGHT) else picture.resize((WIDTH, HEIGHT))


@contextmanager
def _served(folder: Path) -> Iterator[int]:
    """A server without any settings, as ``make run`` starts it."""
    furnish(folder, folder / "none")
    port = free_port()
    with (folder / "server.log").open("wb") as log:
        command = [str(folder / ".venv/bin/streamproxy"), "serve", "--port", str(port)]
        server = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        wait_until(lambda: readiness(port)[0] == 200, "the server is ready", 60)
        yield port
    finally:
        stop(server, 20)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, _served(Path(name)) as port:
        chromium = Chromium(Path(name))
        chromium.start()
        try:
            frames = asyncio.run(record(f"http://127.0.0.1:{port}/", chromium.endpoint))
        finally:
            chromium.stop()
    made = animated(frames)
    assert len(made) <= MOST_BYTES, f"{len(made)} bytes are too many for a README"
    PICTURE.write_bytes(made)
    print(f"{PICTURE.name}: {len(frames)} frames painted, {len(made)} bytes")


if __name__ == "__main__":
    main()
