"""The head of a request: the request line, and the fields as llhttp reads them.

Stricter than llhttp where parsers are known to disagree (RFC 9112, sections 3, 5 and 6): one space between the parts
of the request line, HTTP/1.0 and 1.1 only, ``chunked`` as the one transfer coding and never beside a length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import httptools
from tornado.httputil import HTTPHeaders, HTTPInputError

# The end of a head; where it ends without a CR llhttp refuses it.
END = re.compile(rb"\n\r?\n")
_LINE = re.compile(rb"(?:\r?\n)*([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_VERSIONS = {b"0": "HTTP/1.0", b"1": "HTTP/1.1"}


class Head(NamedTuple):
    """*length* is None for a body in chunks, 0 for none; *lasting*: the connection outlives the answer."""

    method: str
    target: str
    version: str
    headers: HTTPHeaders
    length: int | None
    lasting: bool


class _Fields:
    """What ``httptools`` calls for every field."""

    __slots__ = ("complete", "headers")

    def __init__(self) -> None:
        self.headers = HTTPHeaders()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        spelled = _name(name)
        text = value.decode("latin-1").rstrip(" \t")
        if spelled in self.headers:
            self.headers.add(spelled, text)
        else:
            self.headers[spelled] = text

    def on_headers_complete(self) -> None:
        self.complete = True


def parse(data: bytes) -> Head:
    """*data* is a whole head, its empty line included. HTTPInputError for what is none."""
    line = _LINE.match(data)
    if line is None:
        raise HTTPInputError("malformed request line")
    method, target, minor = line.groups()
    try:
        fields = _read(data)
    except httptools.HttpParserInvalidMethodError:
        # llhttp knows the registered methods only. Whether one is answered is the application's to say.
        fields = _read(b"GET" + data[line.end(1) :])
    headers, version = fields.headers, _VERSIONS[minor]
    length = _length(headers)
    lasting = _lasting(method, version, headers, length)
    return Head(_name_of_method(method), target.decode("latin-1"), version, headers, length, lasting)


def _read(data: bytes) -> _Fields:
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # We know no other protocol: the request is read as if it had not asked for one.
    except httptools.HttpParserInvalidMethodError:
        raise
    except httptools.HttpParserError as error:
        raise HTTPInputError(str(error)) from None
    if not fields.complete:
        raise HTTPInputError("incomplete head")
    return fields


def _length(headers: HTTPHeaders) -> int | None:
    coding, length = headers.get("Transfer-Encoding"), headers.get("Content-Length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise HTTPInputError("unsupported Transfer-Encoding")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise HTTPInputError("malformed Content-Length")
    return int(length)


def _lasting(method: bytes, version: str, headers: HTTPHeaders, length: int | None) -> bool:
    """As Tornado has it: HTTP/1.1 lasts unless told otherwise, HTTP/1.0 where it asks to and its body has an end."""
    wish = headers.get("Connection")
    if version == "HTTP/1.1":
        return wish is None or wish.lower() != "close"
    bounded = length is None or "Content-Length" in headers or method in {b"HEAD", b"GET"}
    return bounded and wish is not None and wish.lower() == "keep-alive"


@lru_cache(maxsize=512)
def _name(name: bytes) -> str:
    return name.decode("latin-1")


@lru_cache(maxsize=64)
def _name_of_method(method: bytes) -> str:
    return method.decode("latin-1")
