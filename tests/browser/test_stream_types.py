"""static/stream.js is typed: TypeScript reads its JSDoc and a page that uses it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from streamproxy.handlers.page import page_files
from tests.browser.packages import MODULES, install
from tests.support.processes import find_program

LIBRARY = ("stream.js", "stream-memory.js", "stream-wire.js", "sse.js")
USE = """
import { resumeStream, startStream } from "./stream.js";

const request = { model: "m", messages: [{ role: "user", content: "x" }] };
const stream = startStream(request, {
  onText: (text, added) => console.log(text.length, added.length),
  onState: (state, { retryAt }) => console.log(state === "reconnecting" ? retryAt! - Date.now() : 0),
  onFault: (fault) => console.log(fault.code.length, (fault.retryAfter ?? 0) + fault.status),
});
for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content?.length);
const total: number = (await stream.finished).usage.total_tokens;
resumeStream()?.close();
console.log(total);
"""
MISUSE = 'import { startStream } from "./stream.js";\nstartStream({ model: 1, messages: [] });\n'
OPTIONS = (
    *("--noEmit", "--allowJs", "--checkJs", "--strict", "false", "--target", "es2023"),
    *("--lib", "es2024,dom,dom.iterable,dom.asynciterable", "--module", "esnext", "--moduleResolution", "bundler"),
)


def complaints(folder: Path, script: str) -> str:
    """What TypeScript says of the library and of *script*, which uses it."""
    install()
    for name in LIBRARY:
        (folder / name).write_bytes(page_files()[name])
    (folder / "use.ts").write_text(script)
    node = find_program("node", package="nodejs")
    command = [node, str(MODULES / "typescript" / "bin" / "tsc"), *OPTIONS, *LIBRARY, "use.ts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    shutil.rmtree(folder)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("script", "right"), [(USE, True), (MISUSE, False)])
def test_typescript_accepts_right_use_and_nothing_else(tmp_path: Path, script: str, *, right: bool) -> None:
    said = complaints(tmp_path, script)
    assert (said == "") is right, said
    if not right:
        assert "use.ts(2,15): error TS2322" in said
