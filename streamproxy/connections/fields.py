"""Header fields that are made and told at once.

``HTTPHeaders`` is a ``MutableMapping``: making one of a dozen fields and writing it out are dozens of calls. These are
the same to whoever reads them, for a handful.

Inner part, seen in Tornado 6.6 (``tests/connections/test_fields.py`` holds it to the installed version): the two
dictionaries that ``HTTPHeaders`` keeps, by spelled names. Where there is anything else they are as Tornado makes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from tornado.httputil import HTTPHeaders

# What RequestHandler.set_header lets pass.
SAFE = re.compile(r"[\x09\x20-\x7e\x80-\xff]*")


@lru_cache(maxsize=1024)
def spelled(name: str) -> str:
    """*name* as Tornado keeps it: ``content-TYPE`` is ``Content-Type``."""
    return "-".join([word.capitalize() for word in name.split("-")])


class Fields(HTTPHeaders):
    """HTTPHeaders of *fields*, one value a name; further ones may be added."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._as_list = {}
        self._combined_cache = {}
        self.update(fields)

    def update(self, fields: Mapping[str, str]) -> None:  # type: ignore[override]
        several, one = self._as_list, self._combined_cache
        for name, value in fields.items():
            key = spelled(name)
            several[key] = [value]
            one[key] = value


def values_of(headers: HTTPHeaders) -> dict[str, list[str]]:
    """The values of *headers* by their names, in a dictionary of the caller's own; the lists are not."""
    return dict(headers._as_list if type(headers) is Fields else ((name, headers.get_list(name)) for name in headers))


def lines_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The line that each of *fields* is in a head, by its spelled name; ValueError for a value that is no such."""
    if SAFE.fullmatch("".join(fields.values())) is None:
        raise ValueError(f"Unsafe header value in {fields!r}")
    lines = {}
    for name, value in fields.items():
        key = spelled(name)
        lines[key] = f"{key}: {value}\r\n"
    return lines


def _known() -> bool:
    return vars(HTTPHeaders()).keys() == {"_as_list", "_combined_cache"}


# HTTPHeaders of a mapping: one value a name.
fields_of: Callable[[Mapping[str, str]], HTTPHeaders] = Fields if _known() else HTTPHeaders
