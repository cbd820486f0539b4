"""What each answer that is no success means: for the client, for the key, and for the next attempt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.dialects import DIALECTS
from streamproxy.dialects.base import Dialect, Failure
from streamproxy.domain.keypool import KeyState
from streamproxy.domain.quirks import NO_QUIRKS
from streamproxy.errors import RateLimitError, UpstreamError, UpstreamRejectedError

DATA = Path(__file__).parent / "data"
CANARY = "canary-9a7b sk-live-0123456789abcdefghij"
NAMES = ("openai", "azure")


def dialect(name: str) -> Dialect:
    return DIALECTS[name](NO_QUIRKS)


def error(code: object = None, kind: str = "", message: str = CANARY) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def failed(status: int, body: bytes = b"", *, of: str = "openai", **headers: str) -> Failure:
    return dialect(of).failure(status, {name.replace("_", "-").title(): v for name, v in headers.items()}, body)


@dataclass(frozen=True, slots=True)
class Row:
    """A status and an error code, and what is made of them."""

    status: int
    body: bytes
    state: KeyState | None
    another_key: bool
    code: str
    ours: int


DEAD, PARKED, COOLING = KeyState.DISABLED, KeyState.PARKED, KeyState.COOLING
TABLE = {
    "a wrong key": Row(401, error("invalid_api_key"), DEAD, True, "upstream_key_refused", 502),
    "401 without words": Row(401, b"", DEAD, True, "upstream_key_refused", 502),
    "401 with a web page": Row(401, b"<html>no</html>", DEAD, True, "upstream_key_refused", 502),
    "a deactivated account": Row(403, error("account_deactivated"), DEAD, True, "upstream_key_refused", 502),
    "a wrong key in a 400": Row(400, error("invalid_api_key"), DEAD, True, "upstream_key_refused", 502),
    "a wrong key in a 200": Row(200, error("invalid_api_key"), DEAD, True, "upstream_key_refused", 502),
    "OpenRouter's 401 in a 200": Row(200, error(401), DEAD, True, "upstream_key_refused", 502),
    "a region": Row(403, error("unsupported_country"), None, True, "upstream_key_refused", 502),
    "no quota": Row(429, error("insufficient_quota"), PARKED, True, "upstream_quota", 502),
    "no quota, said by type": Row(429, error(None, "insufficient_quota"), PARKED, True, "upstream_quota", 502),
    "no quota in a 403": Row(403, error("insufficient_quota"), PARKED, True, "upstream_quota", 502),
    "a hard limit": Row(400, error("billing_hard_limit_reached"), PARKED, True, "upstream_quota", 502),
    "402": Row(402, b"", PARKED, True, "upstream_quota", 502),
    "402 in a 200": Row(200, error(402), PARKED, True, "upstream_quota", 502),
    "too many": Row(429, error("rate_limit_exceeded"), COOLING, True, "upstream_rate_limited", 429),
    "429 without words": Row(429, b"", COOLING, True, "upstream_rate_limited", 429),
    "too many in a 200": Row(200, error("rate_limit_exceeded"), COOLING, True, "upstream_rate_limited", 429),
    "OpenRouter's 429 in a 200": Row(200, error(429), COOLING, True, "upstream_rate_limited", 429),
    "overloaded": Row(529, error(None, "overloaded_error"), COOLING, True, "upstream_overloaded", 502),
    "500": Row(500, error(), None, True, "upstream_error", 502),
    "502 with a web page": Row(502, b"<html>", None, True, "upstream_error", 502),
    "503": Row(503, b"", None, True, "upstream_overloaded", 502),
    "OpenRouter's 502 in a 200": Row(200, error(502), None, True, "upstream_error", 502),
    "an error in a 200": Row(200, error(None, "server_error"), None, True, "upstream_error", 502),
    "HTML in a 200": Row(200, b"<html>", None, True, "upstream_error", 502),
    "nothing in a 200": Row(200, b"", None, True, "upstream_error", 502),
    "a redirect": Row(307, b"", None, False, "upstream_rejected", 502),
    "a conflict": Row(409, error(), None, False, "upstream_rejected", 502),
    "a bad parameter": Row(400, error("unsupported_parameter"), None, False, "unsupported_parameter", 400),
    "a context too long": Row(400, error("context_length_exceeded"), None, False, "context_length_exceeded", 400),
    "the same in a 500": Row(500, error("context_length_exceeded"), None, False, "context_length_exceeded", 400),
    "a policy": Row(400, error("content_policy_violation"), None, False, "content_policy_violation", 400),
    "no such model": Row(404, error("model_not_found"), None, False, "model_not_found", 404),
    "too large": Row(413, b"", None, False, "upstream_rejected", 413),
    "unprocessable": Row(422, b"", None, False, "upstream_rejected", 422),
    "a bad request in a 200": Row(200, error(None, "invalid_request_error"), None, False, "upstream_rejected", 400),
}  # fmt: skip


@pytest.mark.parametrize("of", NAMES)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_the_table(row: Row, of: str) -> None:
    failure = failed(row.status, row.body, of=of)
    assert (failure.verdict.state if failure.verdict else None) == row.state
    assert failure.another_key == row.another_key
    assert (failure.error.code, failure.error.status) == (row.code, row.ours)


AZURE = {
    "a wrong key": Row(401, error("401"), DEAD, True, "upstream_key_refused", 502),
    "a missing role": Row(401, error("PermissionDenied"), None, True, "upstream_key_refused", 502),
    "a firewall": Row(403, error("403"), None, True, "upstream_key_refused", 502),
    "a wrong path": Row(404, error("404"), None, False, "upstream_rejected", 502),
    "no such deployment": Row(404, error("DeploymentNotFound"), None, False, "DeploymentNotFound", 404),
    "too many": Row(429, error("429"), COOLING, True, "upstream_rate_limited", 429),
    "too many, in words": Row(429, error("RateLimitReached"), COOLING, True, "upstream_rate_limited", 429),
}


@pytest.mark.parametrize("row", AZURE.values(), ids=AZURE.keys())
def test_azures_own_rows(row: Row) -> None:
    test_the_table(row, "azure")


@dataclass(frozen=True, slots=True)
class Said:
    """A provider's own error body: its status, and what the client is told."""

    of: str
    status: int
    ours: int
    code: str
    words: str
    param: str | None = None


BODIES = {
    "azure/content_filter": Said("azure", 400, 400, "content_filter", "content management policy", "prompt"),
    "vllm/extra_forbidden": Said("openai", 400, 400, "upstream_rejected", "Extra inputs are not permitted"),
    "transformers/unexpected_keys": Said("openai", 422, 422, "upstream_rejected", "Unexpected keys in the request"),
    "ollama/not_found": Said("openai", 404, 404, "upstream_rejected", 'model "llama9" not found'),
    "openrouter/moderation": Said("openai", 403, 403, "content_policy_violation", "requires moderation"),
}


@pytest.mark.parametrize(("name", "said"), BODIES.items(), ids=BODIES.keys())
def test_what_a_provider_says_of_the_callers_request_is_passed_on(name: str, said: Said) -> None:
    """The only words of a provider that a client ever reads."""
    failure = failed(said.status, (DATA / f"{name}.json").read_bytes(), of=said.of)
    assert isinstance(failure.error, UpstreamRejectedError)
    assert (failure.error.status, failure.error.code, failure.error.param) == (said.ours, said.code, said.param)
    assert said.words in failure.error.message
    assert failure.verdict is None
    assert not failure.another_key


def test_deepseeks_empty_balance_parks_the_key_though_its_code_says_invalid_request() -> None:
    failure = failed(402, (DATA / "deepseek/insufficient_balance.json").read_bytes())
    assert failure.verdict is not None
    assert failure.verdict.state is KeyState.PARKED


def test_fastapis_list_of_faults_is_read() -> None:
    body = json.dumps({"detail": [{"loc": ["body", "n"], "msg": "must be 1", "type": "value_error"}]}).encode()
    assert failed(422, body).error.message == "body.n: must be 1"


@pytest.mark.parametrize("value", ["Incorrect API key: sk-abcdef0123456789", "sk-abcdef0123456789", "x" * 200, "a\nb"])
def test_a_code_or_parameter_that_is_no_name_is_not_passed_on(value: str) -> None:
    """A credential may stand anywhere in what an upstream says."""
    body = json.dumps({"error": {"message": "no", "code": value, "type": value, "param": value}}).encode()
    refused = failed(400, body).error
    assert (refused.code, refused.param) == ("upstream_rejected", None)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_words_that_are_passed_on_are_cleaned_and_bounded(status: int) -> None:
    secret = "Bearer abcdef0123456789 and sk-live-0123456789abcdefghij at redis://:hunter2@host"
    message = failed(status, error(message=secret + "x" * 5000)).error.message
    assert len(message) <= 1000
    for word in ("abcdef0123456789", "0123456789abcdefghij", "hunter2"):
        assert word not in message


@pytest.mark.parametrize("status", [200, 301, 401, 402, 403, 409, 429, 500, 503, 529])
@pytest.mark.parametrize("of", NAMES)
def test_other_words_of_a_provider_reach_nobody(status: int, of: str) -> None:
    failure = failed(status, error(), of=of)
    assert "canary" not in failure.error.message
    assert failure.error.param is None


SECONDS = {
    "seconds": ("7", 7.0),
    "a fraction": ("1.5", 5.0),
    "none": ("0", 1.0),
    "negative": ("-5", 5.0),
    "absurd": ("1000000000", 60.0),
    "too many digits": ("9" * 5000, 60.0),
    "words": ("soon", 5.0),
    "empty": ("", 5.0),
}


@pytest.mark.parametrize(("value", "seconds"), SECONDS.values(), ids=SECONDS.keys())
@pytest.mark.parametrize("status", [429, 529])
def test_a_key_cools_for_as_long_as_the_provider_asks_within_reason(status: int, value: str, seconds: float) -> None:
    failure = failed(status, retry_after=value)
    assert failure.verdict is not None
    assert failure.verdict.seconds == seconds
    assert failure.error.retry_after == seconds


@pytest.mark.parametrize(("later", "seconds"), [(30, 30.0), (3600, 60.0), (-30, 1.0)])
def test_retry_after_may_be_a_date_read_against_the_answers_own(later: int, seconds: float) -> None:
    """RFC 9110, 10.2.3; a wrong clock of ours changes nothing."""
    there = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    until = format_datetime(there + timedelta(seconds=later), usegmt=True)
    failure = failed(429, retry_after=until, date=format_datetime(there, usegmt=True))
    assert failure.verdict is not None
    assert failure.verdict.seconds == seconds


def test_a_500_cools_the_key_only_where_the_upstream_names_a_time() -> None:
    """One failure says little; how many in a row do is the pool's to say."""
    named = failed(503, retry_after="7")
    assert named.verdict is not None
    assert named.verdict.seconds == 7.0
    assert failed(503).verdict is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "detail", "message", "code", "type", "param", "object", "metadata", "loc", "msg"]),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(status=st.integers(200, 599), value=JSON, noise=st.binary(max_size=40), of=st.sampled_from(NAMES))
def test_no_body_is_too_strange(status: int, value: object, noise: bytes, of: str) -> None:
    """Every answer is classified, and as one of ours: 4xx to 5xx, never 401."""
    for body in (json.dumps(value).encode(errors="replace"), noise):
        failure = failed(status, body, of=of)
        assert isinstance(failure.error, (UpstreamError, RateLimitError))
        assert 400 <= failure.error.status < 600
        assert failure.error.status != 401
        assert failure.error.message
