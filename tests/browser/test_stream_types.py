"""static/stream.js is typed: TypeScript reads its JSDoc and a page that uses it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from streamproxy.handlers.page import page_files
from tests.browser.packages import modules
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


def test_typescript_accepts_right_use_and_only_that(tmp_path: Path) -> None:
    """The library itself and a page that uses it well are without fault; a number for a model's name is not."""
    for name in LIBRARY:
        (tmp_path / name).write_bytes(page_files()[name])
    (tmp_path / "use.ts").write_text(USE)
    (tmp_path / "misuse.ts").write_text(MISUSE)
    command = [find_program("node", package="nodejs"), str(modules() / "typescript" / "bin" / "tsc"), *OPTIONS]
    done = subprocess.run(
        [*command, *LIBRARY, "use.ts", "misuse.ts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (complaint,) = (done.stdout + done.stderr).strip().split("\n")
    assert complaint.startswith("misuse.ts(2,15): error TS2322")
