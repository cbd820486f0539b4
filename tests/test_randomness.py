"""Ids that nobody can guess, also not from another process's."""

from __future__ import annotations

import os
import re

from streamproxy.randomness import timed_token, token


def test_an_id_is_base64url_of_its_size() -> None:
    assert {len(token(12)) for _ in range(1000)} == {16}
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", token(16)) for _ in range(1000))


def test_no_id_comes_twice() -> None:
    assert len({token(12) for _ in range(10_000)}) == 10_000


def test_an_id_with_time_sorts_behind_those_of_before() -> None:
    """Also where digits, letters and signs follow each other, through all that a byte can be."""
    moments = [1_790_000_000_000 + step for step in (*range(300), *range(300, 10**8, 999_983))]
    ids = [timed_token(moment) for moment in moments]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", found) for found in ids)
    assert [found.encode() for found in ids] == sorted(found.encode() for found in ids)


def test_no_id_of_one_moment_comes_twice() -> None:
    assert len({timed_token(1_790_000_000_000) for _ in range(10_000)}) == 10_000


def test_a_forked_process_gives_other_ids() -> None:
    """What the parent had in stock is the parent's."""
    token(12)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, " ".join(token(12) for _ in range(200)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        theirs = set(pipe.read().split())
    os.wait()
    assert len(theirs) == 200
    assert theirs.isdisjoint(token(12) for _ in range(200))
