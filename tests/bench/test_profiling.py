"""Stacks become tables."""

from __future__ import annotations

from tests.bench.profiling import Profile, parse

RAW = """\
process 7;<module> (/x/streamproxy/__main__.py:1);Runner.run (/usr/lib/python3.11/asyncio/runners.py:86);post (/x/streamproxy/handlers/chat.py:20);write (/x/site-packages/tornado/web.py:3) 6
process 7;<module> (/x/streamproxy/__main__.py:1);Runner.run (/usr/lib/python3.11/asyncio/runners.py:86) 2
process 7;Thread.run (/usr/lib/python3.11/threading.py:1);work (/x/site-packages/aiosqlite/core.py:48) 5
"""  # noqa: E501


def test_samples_of_the_loop_are_told_by_package_caller_and_function() -> None:
    """Time in a library is also told by the function of streamproxy that asked for it; other threads stand apart."""
    profile = Profile(*parse(RAW), user_seconds=1, system_seconds=1, seconds=2, events=3, errors=0)
    assert profile.samples == 8
    assert profile.packages() == {"tornado": 6, "asyncio": 2}
    assert profile.asked_by()["post (streamproxy/handlers/chat.py:20)"] == 6
    assert profile.own()["write (tornado/web.py:3)"] == 6
    assert profile.inclusive()["Runner.run (asyncio/runners.py:86)"] == 8
    assert profile.threads == {"work (aiosqlite/core.py:48)": 5}
