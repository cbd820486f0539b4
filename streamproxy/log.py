"""Logging: one line a record on standard error, as JSON or text, and no secret in any of them.

Every record passes one filter, on the handler and not on a logger, so that what Tornado, aiohttp or
SQLAlchemy log passes it too: message, arguments, extra fields, exception and stack text. A record
that cannot be rendered (wrong arguments, a broken ``__str__``) is logged as it can be; logging never
raises into the code that logs. Text that looks like a secret and is none is masked as well.

Ids belong into every line: ``logger.warning("key cooled down", extra={"request_id": ..., "key": last4})``.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol, TextIO

import msgspec

from streamproxy.redaction import masked, redact, redacted

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# In characters. A longer message or traceback is somebody's body or a runaway recursion: nobody reads on.
_LONGEST = 16_384
_PLAIN_FIELDS = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


def setup_logging(level: str, format: str | None = None) -> None:  # noqa: A002 (the setting's name)
    """Send all logging to standard error from *level* on, as ``json`` or ``text``.

    Without *format* it is text on a terminal and JSON otherwise. Calling again replaces the former set-up.
    """
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(former)
    if format is None:
        format = "text" if sys.stderr.isatty() else "json"  # noqa: A001
    formatter = TextFormatter() if format == "text" else JsonFormatter()
    handler = _StderrHandler(sys.stderr, formatter)
    handler.setFormatter(formatter)
    handler.addFilter(RedactingFilter())
    root.addHandler(handler)
    _ours[:] = [handler]
    # At DEBUG libraries log what they carry (aiosqlite every bound value, prompts among them): only we go so low.
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    logging.getLogger("streamproxy").setLevel(level)
    logging.captureWarnings(capture=True)


def access_line(logger: logging.Logger, fields: Mapping[str, object], loop: asyncio.AbstractEventLoop) -> None:
    """Log the one structured line of a request. *fields* may have any names; None values are left out.

    It is out before the running *loop* waits.
    """
    if _ours and logging.root.handlers == _ours and not logger.handlers:
        if logger.isEnabledFor(logging.INFO):
            _ours[0].line(logger.name, "request", fields, loop)
    else:  # somebody else listens, too
        logger.info("request", extra={"fields": masked(fields)})


class Lines(Protocol):
    """A formatter of ours."""

    def line(self, created: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
        """One line, without its end. *created* is a Unix time; nothing is masked or cut here."""


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records as they come, and the lines of requests that end in one turn of the loop at once.

    A record takes a tenth of what a whole request may cost; a line is as good, and one write serves many.
    """

    def __init__(self, stream: TextIO, lines: Lines) -> None:
        super().__init__(stream)
        self._format = lines
        # The handler's own, under which it emits.
        self._lock = self.lock or threading.RLock()
        self._waiting: list[str] = []

    def line(self, logger: str, message: str, fields: Mapping[str, object], loop: asyncio.AbstractEventLoop) -> None:
        """Like a record at INFO with these extra fields, masked as that would be, None left out.

        It is out before *loop* waits.
        """
        text = self._format.line(time.time(), "INFO", logger, message, masked(fields))
        with self._lock:
            waited = bool(self._waiting)
            self._waiting.append(text)
        if not waited:
            loop.call_soon(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        self._write_waiting()
        super().emit(record)

    def flush(self) -> None:
        with self._lock:
            self._write_waiting()
            if self.stream:  # there is none where standard error is closed
                self.stream.flush()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            try:
                self.stream.write("\n".join([*waiting, ""]))
            except Exception:  # noqa: BLE001 - as logging has it: no line is worth a request
                self.handleError(logging.makeLogRecord({"msg": "lines of requests"}))


# What the root logger has where nobody else listens; before the set-up nobody does.
_ours: list[_StderrHandler] = []


class RedactingFilter(logging.Filter):
    """Renders a record and masks what looks like a credential, wherever it stands. Drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name in vars(record).keys() - _PLAIN_FIELDS:
            setattr(record, name, redacted(name, getattr(record, name)))
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a broken log call is a defect of one line, never of the request
        return f"{record.msg!r} (arguments do not fit)"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The extra fields of *record*; those of an access line stand beside the others."""
    extra = {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
    nested = extra.pop("fields", None)
    return extra | nested if isinstance(nested, dict) else extra


def _time(created: float) -> str:
    return f"{_second(int(created))}.{int(created * 1000) % 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        for name, text in (("exception", record.exc_text), ("stack", record.stack_info)):
            if text:
                fields[name] = _bounded(text)
        message = _bounded(record.getMessage())
        return self.line(record.created, record.levelname, record.name, message, fields)

    def line(self, created: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
        own = {"time": _time(created), "level": level, "logger": logger, "message": message}
        # What a field is called must not let it take the place of one of ours.
        return _json({**own, **fields, **own})


class TextFormatter(logging.Formatter):
    """``time LEVEL logger message name=value …``; a traceback follows, each line of it indented.

    Control characters are escaped and strangers' lines indented: nobody can forge a line of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = _bounded(record.getMessage())
        line = self.line(record.created, record.levelname, record.name, message, _fields(record))
        for text in (record.exc_text, record.stack_info):
            if text:
                line += "".join(f"\n    {_printable(part)}" for part in _bounded(text).split("\n"))
        return line

    def line(self, created: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
        head = f"{_time(created)} {level} {logger} {_printable(message)}"
        return " ".join([head, *(f"{name}={_value(value)}" for name, value in fields.items())])


def _printable(text: str) -> str:
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _value(value: object) -> str:
    text = str(value)
    plain = bool(text) and not any(character in text for character in ' "=') and _CONTROLS.search(text) is None
    return text if plain else _json(text)


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _json(value: object) -> str:
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair, as a client's JSON may carry
        import json

        return json.dumps(value, default=str)
