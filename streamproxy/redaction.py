"""Masks what looks like a secret, in texts and in fields; also what only looks like one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import NoneType

MASK = "***"
# Names of query parameters, headers and fields whose values are credentials.
_CREDENTIAL = r"(?:ticket|(?:x-)?api[_-]?key|(?:access_|api_?|refresh_)?token|password|passwd|secret|authorization)"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # URLs with a user: redis://:password@host. The bounds keep a long line linear.
    (re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,31}://)[^\s/?#'\"<>]{0,512}@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"\b(Bearer)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"), MASK),
    # sk-… is ours and most providers' form; upstreams echo it partly starred ("sk-ab***yz").
    (re.compile(r"(?<![A-Za-z0-9])(sk-|xai-|gsk_|AIza)[A-Za-z0-9_*.-]{6,}"), rf"\1{MASK}"),
    (re.compile(r"\$argon2[a-z]{1,2}\$[^\s'\"]+"), MASK),
    (re.compile(r"\b((?:set-)?cookie['\"]?\s{0,4}[:=]\s{0,4}['\"]?)[^\r\n'\"]+", re.IGNORECASE), rf"\1{MASK}"),
    (
        re.compile(
            rf"(?<![A-Za-z0-9])({_CREDENTIAL}['\"]?\s{{0,4}}[:=]\s{{0,4}}['\"]?(?:Basic\s+)?)[^\s'\"&,;)}}\]]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)
# What none of the patterns can do without, in lower case: most texts have nothing of it.
_MARKS = (
    *("://", "bearer", "eyj", "sk-", "xai-", "gsk_", "aiza", "$argon2", "cookie"),
    *("ticket", "key", "token", "passw", "secret", "authorization"),
)
_ANY_MARK = re.compile("|".join(map(re.escape, _MARKS)), re.IGNORECASE)
_SECRET_FIELD = re.compile(_CREDENTIAL, re.IGNORECASE)
_PLAIN_VALUES = frozenset({str, int, float, bool})


def redact(text: str) -> str:
    """Return *text* with everything masked that looks like a credential."""
    if _suspicious(text):
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
    return text


def _suspicious(text: str) -> bool:
    if not text.isascii():
        # Letters of other alphabets may be the other case of these: a dotless i, a long s.
        return _ANY_MARK.search(text) is not None
    # The same, ten times as fast.
    text = text.lower()
    for mark in _MARKS:  # noqa: SIM110 - any() would ask a generator for each
        if mark in text:
            return True
    return False


@lru_cache(maxsize=256)
def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.fullmatch(name) is not None


@lru_cache(maxsize=256)
def _any_secret(names: tuple[str, ...]) -> bool:
    return any(map(_is_secret, names))


def masked(fields: Mapping[str, object]) -> Mapping[str, object]:
    """*fields*, masked, without those that are None.

    Most lines hold numbers and names of ours: one look at all of their texts is enough.
    """
    values = fields.values()
    kinds = {*map(type, values)}
    if NoneType in kinds:
        return masked({name: value for name, value in fields.items() if value is not None})
    plain = kinds <= _PLAIN_VALUES and not _any_secret(tuple(fields))
    # None of what is looked for has a line break in it, or is in a number, True or False.
    if plain and not _suspicious("\n".join(map(str, values))):
        return fields
    return {name: redacted(name, value) for name, value in fields.items()}


def redacted(name: str, value: object) -> object:
    """The *value* of the field *name*, masked: all of it for the name of a credential, else what looks like one."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if _is_secret(name):
        return MASK
    if type(value) is str:
        return _redacted_text(value)
    if isinstance(value, Mapping):
        return {str(key): redacted(str(key), item) for key, item in value.items()}
    try:
        return redact(str(value))
    except Exception:  # noqa: BLE001 - a broken __str__ is a defect of one line, never of the request
        return f"<{type(value).__name__}>"


@lru_cache(maxsize=1024)
def _redacted_text(text: str) -> str:
    """Most values of most lines (models, paths, reasons) were in the line before."""
    return redact(text)
