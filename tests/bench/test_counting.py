"""The calls of a request are counted, and belong to somebody."""

from __future__ import annotations

import json

import pytest

from tests.bench.counting import Call, Calls, counted, middle, owners, parsed
from tests.bench.workloads import W1

# What a streamed request of 20 events in a session costs today: 530 to 565, the more the busier the machine; and ten.
# Who needs more says why here.
MOST_CALLS = 575

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
    found = Calls(calls)
    assert found.total() == 6
    assert found.by_kind() == {"P": 4, "C": 2}
    assert found.by_file() == {received: 3, line: 2, none[0]: 1}


def test_what_another_task_did_meanwhile_counts_for_no_request() -> None:
    """Of three requests one was answered while keys were read again."""
    arrival = Call(0, "P", "streamproxy/connections/connection.py", "Connection.data_received", 118)
    other = Call(0, "P", "sqlalchemy/ext/asyncio/engine.py", "AsyncConnection.close", 1)
    answered = Call(1, "C", "builtins", "len", 7)
    found = middle([other, arrival, answered, arrival, answered, *[other] * 9, arrival, answered, answered])
    assert found.request == [arrival, answered, answered]
    with pytest.raises(ValueError, match="no request"):
        middle([other, answered])


def test_one_request_is_counted_from_its_arrival_to_its_row() -> None:
    """Counted in a real worker; nobody makes a request dearer without noticing."""
    calls = counted(W1)
    names = {(call.file, call.name) for call in calls.request}
    assert ("streamproxy/stores/redis/turnstile.py", "RedisTurnstile.enter") in names
    assert ("streamproxy/stores/sql/ledger.py", "SqlLedger.enter") in names
    assert 300 < calls.total() < MOST_CALLS
