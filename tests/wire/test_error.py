"""Every error of the tree has the shape and the header fields that OpenAI's clients rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from streamproxy import errors
from streamproxy.errors import StreamProxyError, UpstreamRejectedError
from streamproxy.wire import error as wire_error
from streamproxy.wire.sse import Decoder


def tree(root: type[StreamProxyError]) -> Iterator[type[StreamProxyError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


CLASSES = sorted(set(tree(StreamProxyError)), key=lambda cls: cls.__name__)


def made(cls: type[StreamProxyError], message: str = "No.") -> StreamProxyError:
    if issubclass(cls, UpstreamRejectedError):
        return cls(message, status=422, param="messages")
    return cls(message, param="messages")


def test_the_tree_is_the_whole_of_errors_py() -> None:
    assert {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)} == set(
        CLASSES
    )


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_the_four_members_and_nothing_else(cls: type[StreamProxyError]) -> None:
    error = made(cls)
    shape = {"error": {"message": "No.", "type": error.type, "param": "messages", "code": error.code}}
    assert wire_error.body(error) == shape
    assert json.loads(wire_error.encode(error)) == shape
    assert error.type
    assert error.code


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_one_event_of_a_stream(cls: type[StreamProxyError]) -> None:
    """Whatever its message holds."""
    error = made(cls, "One\r\n\r\nevent: admin\ndata: 你\u2028")
    (event,) = Decoder().feed(wire_error.frame(error))
    assert json.loads(event.data)["error"]["message"] == error.message
    assert event.event == "message"


@pytest.mark.parametrize("cls", CLASSES)
def test_clients_are_told_not_to_retry_where_it_cannot_help(cls: type[StreamProxyError]) -> None:
    headers = wire_error.headers(made(cls))
    assert headers.get("x-should-retry") == (None if cls.retryable else "false")
    assert "Retry-After" not in headers


@pytest.mark.parametrize("cls", CLASSES)
def test_only_401_asks_for_a_bearer(cls: type[StreamProxyError]) -> None:
    error = made(cls)
    assert wire_error.headers(error).get("WWW-Authenticate") == ("Bearer" if error.status == 401 else None)


@pytest.mark.parametrize(
    ("seconds", "field"), [(0, "1"), (0.001, "1"), (1, "1"), (1.01, "2"), (29.5, "30"), (86400, "86400")]
)
def test_retry_after_is_whole_seconds_rounded_up_and_at_least_one(seconds: float, field: str) -> None:
    assert wire_error.headers(errors.RateLimitError("No.", retry_after=seconds))["Retry-After"] == field


@pytest.mark.parametrize(("seconds", "should"), [(59.2, None), (60, None), (60.1, "false"), (86400, "false")])
def test_a_wait_that_clients_would_not_obey_stops_their_retries(seconds: float, should: str | None) -> None:
    """OpenAI's clients wait up to 60 s; for more they would come back after a second, and again."""
    assert wire_error.headers(errors.RateLimitError("No.", retry_after=seconds)).get("x-should-retry") == should
