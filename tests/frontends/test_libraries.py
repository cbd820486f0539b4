"""Pages over other libraries: the browser's EventSource, @microsoft/fetch-event-source, and the Vercel AI SDK."""

from __future__ import annotations

import pytest

from tests.frontends.promises import *  # noqa: F403 - they are run here

pytestmark = [
    pytest.mark.parametrize("app", ["eventsource", "fetch-event-source", "ai-sdk"], indirect=True),
    pytest.mark.gen_test(timeout=60),
]
