"""The pages of one's own that the documents promise, made, served and asked as they are written."""

from __future__ import annotations

import itertools

import pytest
from tornado.ioloop import IOLoop

from tests.browser.chromium import Chromium
from tests.docs.conftest import Clone
from tests.docs.documents import ROOT
from tests.docs.newcomer import STEPS, ask, own_page

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("document", ["README.md", "docs/frontends.md"])
def test_a_newcomers_own_page_types(document: str, clone: Clone, chromium: Chromium, io_loop: IOLoop) -> None:
    with own_page(clone.folder, ROOT / document, port=clone.port) as address:
        steps = io_loop.run_sync(lambda: ask(address, chromium.endpoint))
    assert len(steps) >= STEPS
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(steps))
