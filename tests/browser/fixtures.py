"""Fixtures for tests in a real browser: ``site``, ``network``, ``page``, ``context``, ``witness``.

Chromium is started once a run; everything of a test lives in the test's own loop, so that it can wait for the
scripted upstream and for the page alike. A module overrides ``site_settings`` for other settings of the proxy, and
``site_pages`` for folders that nginx serves beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright, expect
from tornado.ioloop import IOLoop

from tests.browser.chromium import Chromium
from tests.browser.network import Network
from tests.browser.site import Installation, Site
from tests.browser.witness import Witness
from tests.e2e.launching import Launch
from tests.support.nginx import inner
from tests.support.upstream import ScriptedUpstream

WORKERS = 2
# A shared machine may be busy; what is too slow fails the promise that is tested, not this.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    started = Chromium(tmp_path_factory.mktemp("chromium"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    """Settings of the proxy, named as in the environment; override it in a module."""
    return {}


@pytest.fixture(scope="module")
def site_pages() -> dict[str, Path]:
    """Folders that nginx serves beside the proxy: ``{"/vue/": folder}``; override it in a module."""
    return {}


@pytest.fixture(scope="module")
def installation(
    launch: Launch,
    tmp_path_factory: pytest.TempPathFactory,
    site_settings: dict[str, str],
    site_pages: dict[str, Path],
) -> Iterator[Installation]:
    """Two workers that welcome guests, behind nginx."""
    settings = {"AUTH__GUEST": "true", **site_settings}
    server = launch(workers=WORKERS, port_per_worker=True, **settings)
    nginx = inner(tmp_path_factory.mktemp("nginx"), server.ports, pages=site_pages)
    nginx.start()
    yield Installation(server, nginx)
    nginx.stop()


@pytest.fixture
def network(io_loop: IOLoop, installation: Installation) -> Iterator[Network]:
    relay = Network(installation.nginx.port)
    io_loop.run_sync(relay.start)
    yield relay
    io_loop.run_sync(relay.stop)


@pytest.fixture
def site(installation: Installation, network: Network, upstream: ScriptedUpstream) -> Iterator[Site]:
    yield Site(installation.server, network, upstream)
    installation.server.check_log()


@pytest.fixture
def playwright(io_loop: IOLoop) -> Iterator[Playwright]:
    started = io_loop.run_sync(lambda: async_playwright().start())
    yield started
    io_loop.run_sync(started.stop)


@pytest.fixture
def browser(io_loop: IOLoop, playwright: Playwright, chromium: Chromium) -> Iterator[Browser]:
    connected = io_loop.run_sync(lambda: playwright.chromium.connect_over_cdp(chromium.endpoint))
    yield connected
    io_loop.run_sync(connected.close)


@pytest.fixture
def context(io_loop: IOLoop, browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own: no cookies, no storage, no cache."""
    opened = io_loop.run_sync(lambda: browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800}))
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def witness(context: BrowserContext, site: Site) -> Iterator[Witness]:
    """Fails the test for console errors, uncaught exceptions and requests to other hosts that were not forgiven."""
    watching = Witness(context, site.url)
    yield watching
    assert watching.unforgiven() == []


@pytest.fixture
def page(io_loop: IOLoop, context: BrowserContext, witness: Witness) -> Page:
    """An empty page; ``await page.goto(site.url)`` comes next."""
    return io_loop.run_sync(context.new_page)
