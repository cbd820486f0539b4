"""What only the page over the AI SDK can get wrong: it asks for a running stream whenever it is opened."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.browser.speech import TwoParts
from tests.browser.witness import Witness
from tests.frontends.app import App

pytestmark = [pytest.mark.parametrize("app", ["ai-sdk"], indirect=True), pytest.mark.gen_test(timeout=60)]
NO_STREAM = "**/v1/streams/st_0000000000000000000000/events*"


async def test_that_nothing_ran_before_is_not_taken_for_the_end_of_what_runs_now(app: App, witness: Witness) -> None:
    """The answer to the page's opening may come after that to the question."""
    witness.forgive("ERR_")
    begun, parts = asyncio.Event(), TwoParts()

    async def answer_late(route: Route) -> None:
        await begun.wait()
        await route.continue_()

    await app.page.route(NO_STREAM, answer_late)
    await app.reload()
    app.site.upstream.once(*parts.script())
    await app.ask()
    await app.growth.until(parts.first[-1].strip())
    async with app.page.expect_response(NO_STREAM) as late:
        begun.set()
    assert (await late.value).status == 204
    await app.site.network.cut()
    await expect(app.status).to_contain_text("is being restored")
    app.site.network.mend()
    parts.go_on()
    await app.over()
    assert await app.answer.text_content() == parts.text
