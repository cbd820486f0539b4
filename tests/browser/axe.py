"""axe-core looks at a page for what keeps people out: https://github.com/dequelabs/axe-core."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from playwright.async_api import Page

from tests.support.processes import find_program

FOLDER = Path(__file__).parent / "node"
_SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


def install() -> None:
    """Have npm install what package.json names, once."""
    if _SCRIPT.exists():
        return
    npm = find_program("npm", package="npm")
    options = ["--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run([npm, "install", *options], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(FOLDER / "node_modules", ignore_errors=True)
        raise RuntimeError(f"npm could not install axe-core, which these tests need:\n{done.stderr}")


async def serious_faults(page: Page) -> list[str]:
    """The serious and critical ones, each with the elements at fault."""
    await page.evaluate(_SCRIPT.read_text())
    # What fades in has no colour of its own yet.
    await page.evaluate("Promise.all(document.getAnimations().map((a) => a.finish()))")
    result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {[node['html'][:200] for node in fault['nodes']]}"
        for fault in result["violations"]
        if fault["impact"] in SERIOUS
    ]
