"""The head of a request: the request line, and the fields as llhttp reads them.

Stricter than llhttp where parsers are known to disagree (RFC 9112, sections 3, 5 and 6): one space between the parts
of the request line, HTTP/1.0 and 1.1 only, ``chunked`` as the one transfer coding and never beside a length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache

import httptools
import msgspec
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

from streamproxy.connections.fields import fields_of, spelled

# The end of a head; where a line ends without a CR llhttp refuses it.
_END = re.compile(rb"\n\r?\n")
_LINE = re.compile(rb"(?:\r?\n)*([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_VERSIONS = {b"0": "HTTP/1.0", b"1": "HTTP/1.1"}


class Head(msgspec.Struct, dict=True):
    """*fields*: each name, spelled as Tornado does, with its value, or its values joined with commas.

    *length* is None for a body in chunks, 0 for none; *lasting*: the connection outlives the answer; *waits*: the
    client sends the body when it was told to. *each*: the fields one by one, where a name has several values.
    """

    method: str
    path: str
    version: str
    fields: dict[str, str]
    length: int | None
    lasting: bool
    waits: bool
    each: HTTPHeaders | None

    @cached_property
    def headers(self) -> HTTPHeaders:
        """The fields as Tornado knows them. Ours are content with *fields*: making these costs as much as reading."""
        return fields_of(self.fields) if self.each is None else self.each

    @property
    def line(self) -> RequestStartLine:
        """As Tornado knows it."""
        return RequestStartLine(self.method, self.path, self.version)


class _Once(msgspec.Struct):
    """What ``httptools`` calls for a head, none of it written in Python: each field goes straight into a dictionary,
    where a later one of the same name replaces it, and *missing* is empty at the end."""

    missing: list[str]
    on_header: Callable[[bytes, bytes], None]
    on_headers_complete: Callable[[], None]


class _Each:
    """The same for fields of any kind."""

    __slots__ = ("headers", "missing", "on_headers_complete")

    def __init__(self) -> None:
        self.headers = HTTPHeaders()
        self.missing = ["the end"]
        self.on_headers_complete = self.missing.clear

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = _name(name), value.decode("latin-1").rstrip(" \t")
        if key in self.headers:
            self.headers.add(key, text)
        else:
            self.headers[key] = text


def end_of_head(data: bytes, start: int) -> int:
    """Behind the first head in *data*, whose end does not begin before *start*; 0 where there is no whole one."""
    end = data.find(b"\r\n\r\n", start)
    if end >= 0:
        return end + 4
    found = _END.search(data, start)
    return 0 if found is None else found.end()


def parse(data: bytes) -> Head:
    """*data* is a whole head, its empty line included. HTTPInputError for what is none."""
    line = _LINE.match(data)
    if line is None:
        raise HTTPInputError("malformed request line")
    method, target, minor = line.groups()
    # Of the lines that are neither the first nor the last; with empty ones in front it is too many.
    count = data.count(b"\n") - 2
    try:
        fields, each = _fields(data, count)
    except httptools.HttpParserInvalidMethodError:
        # llhttp knows the registered methods only. Whether one is answered is the application's to say.
        fields, each = _fields(b"GET" + data[line.end(1) :], count)
    version = _VERSIONS[minor]
    sized = "Content-Length" in fields and "Transfer-Encoding" not in fields
    length = _number(fields["Content-Length"]) if sized else _length(fields)
    usual = "Connection" not in fields or fields["Connection"] == "keep-alive"
    return Head(
        method=_name_of_method(method),
        path=target.decode("latin-1"),
        version=version,
        fields=fields,
        length=length,
        lasting=(usual and version == "HTTP/1.1") or _lasting(method, version, fields, length),
        waits="Expect" in fields and fields["Expect"] == "100-continue",
        each=each,
    )


def _fields(data: bytes, count: int) -> tuple[dict[str, str], HTTPHeaders | None]:
    """``Head.fields`` and ``Head.each`` of a head that has at most *count* lines of them."""
    found: dict[bytes, bytes] = {}
    missing = ["the end"]
    _read(data, _Once(missing, found.__setitem__, missing.clear))
    text = b"\n".join((*found.values(), b"")).decode("latin-1")
    fields = dict(zip(map(_name, found), text.split("\n"), strict=False))
    if len(fields) == count and " \n" not in text and "\t\n" not in text:
        return fields, None
    # A name may have come twice, or there is white space to cut.
    each = _Each()
    _read(data, each)
    return dict(each.headers), each.headers


def _read(data: bytes, into: _Once | _Each) -> None:
    try:
        httptools.HttpRequestParser(into).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # We know no other protocol: the request is read as if it had not asked for one.
    except httptools.HttpParserInvalidMethodError:
        raise
    except httptools.HttpParserError as error:
        raise HTTPInputError(str(error)) from None
    if into.missing:
        raise HTTPInputError("incomplete head")


def _length(fields: Mapping[str, str]) -> int | None:
    """Of a body whose length is not all that is said of it."""
    if "Transfer-Encoding" not in fields:
        return 0
    if "Content-Length" in fields or fields["Transfer-Encoding"].lower() != "chunked":
        raise HTTPInputError("unsupported Transfer-Encoding")
    return None


# What is refused is not kept.
@lru_cache(maxsize=1024)
def _number(length: str) -> int:
    if _LENGTH.fullmatch(length) is None:
        raise HTTPInputError("malformed Content-Length")
    return int(length)


def _lasting(method: bytes, version: str, fields: Mapping[str, str], length: int | None) -> bool:
    """As Tornado has it: HTTP/1.1 lasts unless told otherwise, HTTP/1.0 where it asks to and its body has an end."""
    wish = fields["Connection"].lower() if "Connection" in fields else None
    if version == "HTTP/1.1":
        return wish != "close"
    bounded = length is None or "Content-Length" in fields or method in {b"HEAD", b"GET"}
    return bounded and wish == "keep-alive"


@lru_cache(maxsize=512)
def _name(name: bytes) -> str:
    return spelled(name.decode("latin-1"))


@lru_cache(maxsize=64)
def _name_of_method(method: bytes) -> str:
    return method.decode("latin-1")
