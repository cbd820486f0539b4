"""Whatever happens to workers and Redis, a reader gets every event once, in order, and one ending.

Short here; ``make soak`` runs the same for as long as SOAK_EXAMPLES says. The mutants are a test of the test: each
takes one guard away, and the harness has to notice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.streamlog import Piece
from streamproxy.stores.redis import scripts
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.streams.harness import FAULTS, play
from tests.support.redis_server import RedisServer

EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", "6"))


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("r"))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=40)
async def test_a_stream_survives_each_fault_by_itself(own_redis: RedisServer, fault: str) -> None:
    run = await play(own_redis, seed=1, faults=[(0.7, fault)])
    assert run.resumed > 4


@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    # An example takes seconds: what was found is printed as it is, not shrunk.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    seed=st.integers(0, 1 << 30),
    faults=st.lists(st.tuples(st.floats(0.1, 1.8), st.sampled_from(FAULTS)), min_size=2, max_size=4),
)
def test_a_stream_survives_any_of_them_together(
    io_loop: IOLoop, own_redis: RedisServer, seed: int, faults: list[tuple[float, str]]
) -> None:
    note(f"seed {seed}, faults {faults}")
    io_loop.run_sync(lambda: play(own_redis, seed=seed, faults=faults), timeout=60)


# -- the test of the test ---------------------------------------------------------------------------------------


def _without(script: str, guard: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A mutant of a Lua script."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        source = scripts.load_script(script).source
        assert guard in source
        mutant = scripts.Script.of(script, source.replace(guard, instead))
        real = scripts.load_script
        patch.setattr(
            "streamproxy.stores.redis.streams.load_script", lambda name: mutant if name == script else real(name)
        )

    return apply


def _no_filter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Piece, "after", lambda self, _number: self)


def _no_reaper(patch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object) -> bool:
        return False

    patch.setattr(RedisStreamLog, "reap", nobody)


MUTANTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "no fence": ("suspend_owner", _without("append_stream", "if head[2] ~= 'running' then", "if false then")),
    "no duplicate filter": ("cut_connections", _no_filter),
    "no gap check": ("roll_back", _without("append_stream", "if first ~= held + 1 then", "if false then")),
    "no reaper": ("kill_owner", _no_reaper),
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.gen_test(timeout=60)
async def test_the_harness_notices_when_a_guard_is_missing(
    own_redis: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, mutate = MUTANTS[name]
    mutate(monkeypatch)
    monkeypatch.setattr("tests.streams.harness.BOUND", 8.0)
    with pytest.raises((AssertionError, TimeoutError, ExceptionGroup)):
        await play(own_redis, seed=1, faults=[(0.5, fault), (1.0, fault)])
