"""The calls of a request are counted, and belong to somebody."""

from __future__ import annotations

import json

from tests.bench.counting import Calls, counted, owners, parsed
from tests.bench.workloads import W1

# What a streamed request of 20 events in a session costs today, and a tenth. Who needs more says why here.
MOST_CALLS = 580

# As inside/calltrace.py writes them: two levels deep is what the loop calls.
TRACED = [
    (2, "P", "/x/streamproxy/composition/background.py", "_insist", 118),
    (3, "P", "/x/streamproxy/services/probes.py", "Prober.look", 30),
    (2, "P", "/x/streamproxy/connections/connection.py", "Connection.data_received", 118),
    (3, "P", "/x/site-packages/tornado/web.py", "RequestHandler.write", 12),
    (4, "C", "builtins", "len", 7),
    (3, "P", "/x/streamproxy/log.py", "line", 13),
    (4, "C", "builtins", "len", 8),
    (2, "P", "/usr/lib/python3/asyncio/events.py", "Handle._run", 118),
]


def test_calls_belong_to_the_innermost_function_of_streamproxy() -> None:
    """What a library does belongs to whoever asked it; what runs by the clock belongs to no request."""
    calls = parsed(json.dumps(TRACED).encode())
    received, line = "streamproxy/connections/connection.py", "streamproxy/log.py"
    none = ("(none of streamproxy)", "(none)")
    assert list(owners(calls)) == [
        *[(received, "Connection.data_received")] * 3,
        *[(line, "line")] * 2,
        none,
    ]
    found = Calls(calls, requests=2)
    assert found.total() == 3
    assert found.by_kind() == {"P": 2, "C": 1}
    assert found.by_file() == {received: 1.5, line: 1, none[0]: 0.5}
    assert [call.name for call in found.last_request()][:2] == ["Connection.data_received", "RequestHandler.write"]


def test_one_request_is_counted_from_its_arrival_to_its_row() -> None:
    """Counted in a real worker; nobody makes a request dearer without noticing."""
    calls = counted(W1)
    names = {(call.file, call.name) for call in calls.last_request()}
    assert ("streamproxy/stores/redis/turnstile.py", "RedisTurnstile.enter") in names
    assert ("streamproxy/stores/sql/ledger.py", "SqlLedger.enter") in names
    assert 300 < calls.total() < MOST_CALLS
