"""The example pages, built and served by nginx on the origin of the API, as a team would serve its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page
from tornado.ioloop import IOLoop

from tests.browser.site import Site
from tests.frontends.app import App
from tests.frontends.build import build

# The tests in it are run by the modules that import them.
pytest.register_assert_rewrite("tests.frontends.promises")


@pytest.fixture(scope="module")
def site_pages() -> dict[str, Path]:
    return {"/apps/": build()}


@pytest.fixture
def app(io_loop: IOLoop, site: Site, page: Page, request: pytest.FixtureRequest) -> App:
    """The page that the test's module is run with."""
    opened = App(site, page, request.param)
    io_loop.run_sync(opened.open)
    return opened
