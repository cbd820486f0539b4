"""What is logged is one line a record and never a secret, whoever logs it and however."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.log import access_line, setup_logging
from streamproxy.redaction import _PATTERNS, MASK, redact
from tests.support.rootlogger import root_logger_kept

BEARER = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ1XzEifQ.c2lnbmF0dXJlLWNhbmFyeQ"
API_TOKEN = "sk-sp-CanaryCanaryCanaryCanaryCanaryCanaryCanary1"
CANARY = "canary7f3"


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    with root_logger_kept():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"authorization=bearer {CANARY}",
        f"Authorization: Basic {CANARY}",
        f"GET /v1/streams/st_1/events?ticket={CANARY}&last_event_id=3",
        f"GET /pro/balance?apiKey={CANARY}",
        f"?token={CANARY}#x",
        f"?access_token={CANARY}",
        f"password={CANARY}",
        f"{{'password': '{CANARY}', 'u': 'alice'}}",
        f'{{"api_key": "{CANARY}"}}',
        f"x-api-key: {CANARY}",
        f"Cookie: streamproxy={CANARY}; other={CANARY}",
        f"Set-Cookie: streamproxy={CANARY}; HttpOnly",
        f"redis://:{CANARY}@db.example:6379/0",
        f"postgresql+asyncpg://user:{CANARY}@db.example/x",
        f"Incorrect API key provided: sk-{CANARY}***wxyz.",
        f"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA${CANARY}",
        BEARER.replace("canary", CANARY),
    ],
)
def test_redact_masks(text: str) -> None:
    """Every form in which a credential appears in headers, queries, JSON, URLs and providers' errors."""
    assert CANARY not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "prompt_tokens=12 completion_tokens=7 max_tokens: 100",
        "worker 3 is ready on http://127.0.0.1:8888/",
        "task-force desk-lamp risk-free sk-SK",
        "key=…wxyz model=gpt-4o session=chat:1",
    ],
)
def test_redact_leaves_what_is_no_secret(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", [f"to\u212aen={CANARY}", f"t\u0131cket={CANARY}", f"pa\u017f\u017fword={CANARY}"])
def test_redact_knows_other_letters_of_the_same_word(text: str) -> None:
    """A Kelvin sign, a dotless i, a long s: ignoring case they are k, i and s."""
    assert CANARY not in redact(text)


CREDENTIALS = (
    *(
        "https://u:p@h",
        "BEARER x",
        "eyJhbGciOiJI",
        "sk-abcdefgh",
        "xai-abcdef",
        "gsk_abcdef",
        "AIzaabcdef",
        "$argon2id$x",
    ),
    *("Cookie: a", "Ticket=1", "api_KEY=1", "Token=1", "PassWD=1", "password=1", "Secret=1", "AUTHORIZATION: 1"),
)


@given(st.text(max_size=20), st.sampled_from(CREDENTIALS), st.text(max_size=20))
def test_nothing_is_overlooked_because_a_text_looked_harmless(before: str, secret: str, after: str) -> None:
    """The first look lets nothing through that one of the patterns would have masked."""
    text = before + secret + after
    masked = text
    for pattern, replacement in _PATTERNS:
        masked = pattern.sub(replacement, masked)
    assert redact(text) == masked


@given(st.text(alphabet="sk-eyJ.:/@?=&Bearto \n'\"x", max_size=300))
def test_redact_is_stable(text: str) -> None:
    """A line that passes twice, as through two processes, reads the same."""
    assert redact(redact(text)) == redact(text)


def test_secret_in_message_arguments_extra_and_exception_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", "json")
    log = logging.getLogger("streamproxy.test")
    try:
        raise ValueError(f"Incorrect API key provided: {API_TOKEN}") from OSError(f"password={CANARY}")
    except ValueError:
        log.exception(
            "calling with %s", f"Bearer {CANARY}", extra={"header": BEARER, "ticket": CANARY, "at": {"u": API_TOKEN}}
        )
    captured = capsys.readouterr().err
    assert "Canary" not in captured
    assert CANARY not in captured
    assert BEARER not in captured
    record = json.loads(captured)
    assert record["message"] == "calling with Bearer ***"
    assert "ValueError: Incorrect API key provided: sk-***" in record["exception"]
    assert record["ticket"] == MASK


@pytest.mark.parametrize("name", ["tornado.access", "tornado.application", "aiohttp.client", "asyncio", "sqlalchemy"])
def test_foreign_loggers_pass_the_filter_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", "json")
    logging.getLogger(name).warning("500 GET /v1/x?ticket=%s", CANARY)
    (record,) = lines(capsys)
    assert (record["logger"], record["message"]) == (name, "500 GET /v1/x?ticket=***")


async def test_access_line_keeps_every_name_and_leaves_none_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Names that a LogRecord uses itself (name, message, module) are no trouble; None is not printed."""
    setup_logging("INFO", "json")
    fields = {"request_id": "r_1", "status": 499, "name": "alice", "module": "m", "ttft_ms": None, "ok": True}
    access_line(logging.getLogger("streamproxy.access"), fields, asyncio.get_running_loop())
    await asyncio.sleep(0)
    (record,) = lines(capsys)
    assert record["message"] == "request"
    assert {name: record.get(name) for name in fields} == fields
    assert "ttft_ms" not in record


def test_text_lines_are_key_value_and_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger's newline or terminal escape in a message, a value or an exception starts no line of its own."""
    setup_logging("INFO", "text")
    forged = "x\n2026-01-01T00:00:00.000Z ERROR root forged \x1b[31m"
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("t").exception("%s", forged, extra={"agent": forged, "status": 200})
    first, *rest = capsys.readouterr().err.splitlines()
    assert " ERROR t x\\n2026-01-01" in first
    assert " status=200" in first
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in "".join([first, *rest])


def test_json_is_one_line_whatever_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """Newlines, lone surrogates, unprintable objects: still one JSON object."""
    # pytest's own handler keeps what was logged for its report, which has to be UTF-8 between processes.
    logging.getLogger().handlers.clear()
    setup_logging("INFO", "json")
    logging.getLogger("t").info("a\nb \ud800 %s", object(), extra={"value": "\udfff\n", "obj": object()})
    (record,) = lines(capsys)
    assert record["message"].startswith("a\nb")


def test_a_broken_log_call_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    # pytest's own handlers do raise, so that a test finds such a call.
    logging.getLogger().handlers.clear()
    setup_logging("INFO", "json")
    logging.getLogger("t").info("%d tokens", "many")
    logging.getLogger("t").info("hello", extra={"who": Broken()})
    first, second = lines(capsys)
    assert "arguments do not fit" in first["message"]
    assert second["who"] == "<Broken>"


def test_long_messages_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", "json")
    logging.getLogger("t").info("x" * 1_000_000)
    assert len(capsys.readouterr().err) < 20_000


def test_setting_up_again_replaces_the_former(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", "json")
    setup_logging("WARNING", "text")
    logging.getLogger("t").info("not this")
    logging.getLogger("t").warning("once")
    assert capsys.readouterr().err.count("once") == 1


def test_without_a_terminal_the_format_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO")
    logging.getLogger("t").info("hello")
    assert lines(capsys)[0]["level"] == "INFO"


async def test_lines_of_requests_are_out_before_a_later_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of one turn of the loop are written at once, masked like every record, and in their order."""
    setup_logging("INFO", "json")
    logger, loop = logging.getLogger("streamproxy.access"), asyncio.get_running_loop()
    access_line(logger, {"path": "/a", "upstream": f"https://user:{CANARY}@host"}, loop)
    access_line(logger, {"path": "/b", "level": "forged"}, loop)
    logger.warning("third")
    access_line(logger, {"path": "/c"}, loop)
    await asyncio.sleep(0)
    said = lines(capsys)
    assert [line.get("path", line["message"]) for line in said] == ["/a", "/b", "third", "/c"]
    assert {line["level"] for line in said} == {"INFO", "WARNING"}
    assert CANARY not in str(said)


@pytest.mark.parametrize(
    "field",
    [
        {"upstream": f"https://user:{CANARY}@host"},
        {"ticket": CANARY},
        {"api_key": CANARY},
        {"at": {"password": CANARY}},
        {"seen": [f"Bearer {CANARY}"]},
        {"error": ValueError(f"token={CANARY}")},
        {"path": f"/x?ticket={CANARY}"},
        {"model": f"eyJhbGciOi{CANARY}"},
    ],
    ids=repr,
)
async def test_one_secret_is_found_among_plain_fields(
    field: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name, its text or what it holds; the fields around it stay what they were."""
    logging.getLogger().handlers.clear()
    setup_logging("INFO", "json")
    plain = {"request_id": "req_1", "key": "wxyz", "prompt_tokens": 3, "estimated": False, "seconds": 0.5}
    access_line(logging.getLogger("streamproxy.access"), {**plain, **field}, asyncio.get_running_loop())
    await asyncio.sleep(0)
    (said,) = lines(capsys)
    assert CANARY not in str(said)
    assert MASK in str(said)
    assert {name: said[name] for name in plain} == plain


async def test_a_flush_leaves_no_line_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """logging.shutdown flushes: the last request of a process is in its log."""
    setup_logging("INFO", "text")
    access_line(logging.getLogger("streamproxy.access"), {"path": "/last"}, asyncio.get_running_loop())
    for handler in logging.getLogger().handlers:
        handler.flush()
    assert "path=/last" in capsys.readouterr().err


async def test_below_its_level_no_line_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("WARNING", "json")
    access_line(logging.getLogger("streamproxy.access"), {"path": "/"}, asyncio.get_running_loop())
    await asyncio.sleep(0)
    assert capsys.readouterr().err == ""
