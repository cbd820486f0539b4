"""The snippets for pages in the documents (fences that say ``browser``), in the browser, as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser.site import Site
from tests.browser.speech import TwoParts
from tests.docs.documents import DOCUMENTS, snippets

pytestmark = pytest.mark.gen_test(timeout=60)
SNIPPETS = [(path, number) for path in DOCUMENTS for number, _ in enumerate(snippets(path, "browser"))]
# What a snippet takes for granted: functions of the reader's own page, and the user's bearer.
_OWN = """
globalThis.shown = "";
const show = (text) => (globalThis.shown = text);
const [showState, showFault] = [() => {}, () => {}];
const token = localStorage.getItem("token");
"""


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    return {"UPSTREAM__MODELS": "demo"}


@pytest.mark.parametrize(("document", "number"), SNIPPETS, ids=lambda value: getattr(value, "name", str(value)))
async def test_a_snippet_for_pages_shows_an_answer_and_goes_on_after_a_reload(
    document: Path, number: int, site: Site, page: Page
) -> None:
    (person,) = await site.server.people(1)
    text = snippets(document, "browser")[number].text
    imports = "".join(line for line in text.splitlines(keepends=True) if line.startswith("import "))
    script = f"{imports}{_OWN}\n{text.replace(imports, '')}\nglobalThis.ask = ask;\n"
    await page.add_init_script(f"localStorage.setItem('token', '{person.bearer}')")
    html = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/own.js"></script>'
    await page.route("**/own.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.route("**/own.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    if "token" not in text:
        await page.goto(site.url)  # the page's own cookie, as a guest
    parts = TwoParts()
    site.upstream.once(*parts.script())
    await page.goto(f"{site.url}/own.html")
    await page.evaluate("() => ask('Talk to me.')")
    await page.wait_for_function("text => shown === text", arg="".join(parts.first))
    await page.reload()
    parts.go_on()
    await page.wait_for_function("text => shown === text", arg=parts.text)


def test_there_are_such_snippets() -> None:
    assert len(SNIPPETS) >= 2
