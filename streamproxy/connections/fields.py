"""Header fields that are made at once, and asked without a detour.

``HTTPHeaders`` is a ``MutableMapping``: making one of a dozen fields, asking it a dozen times and writing it out are a
hundred calls. These are the same to whoever reads them, for a handful.

Inner part, seen in Tornado 6.6 (``tests/connections/test_fields.py`` holds it to the installed version): the two
dictionaries that ``HTTPHeaders`` keeps, by spelled names. Where there is anything else they are as Tornado makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from tornado.httputil import HTTPHeaders


@lru_cache(maxsize=1024)
def spelled(name: str) -> str:
    """*name* as Tornado keeps it: ``content-TYPE`` is ``Content-Type``."""
    return "-".join([word.capitalize() for word in name.split("-")])


class Fields(HTTPHeaders):
    """HTTPHeaders of *fields*, one value a name; further ones may be added."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._as_list = several = {}
        self._combined_cache = one = {}
        for name, value in fields.items():
            key = spelled(name)
            several[key] = [value]
            one[key] = value

    def update(self, fields: Mapping[str, str]) -> None:  # type: ignore[override]
        several, one = self._as_list, self._combined_cache
        for name, value in fields.items():
            key = spelled(name)
            several[key] = [value]
            one[key] = value

    def __contains__(self, name: object) -> bool:
        return spelled(name) in self._as_list

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        key = spelled(name)
        if key in self._combined_cache:
            return self._combined_cache[key]
        # Of a name that has several values the combined one may have to be made yet.
        return self[key] if key in self._as_list else default

    def get_all(self) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self._as_list.items() for value in values]


def values_of(headers: HTTPHeaders) -> dict[str, list[str]]:
    """The values of *headers* by their names, in a dictionary of the caller's own; the lists are not."""
    return dict(headers._as_list if type(headers) is Fields else ((name, headers.get_list(name)) for name in headers))


def _known() -> bool:
    return vars(HTTPHeaders()).keys() == {"_as_list", "_combined_cache"}


# HTTPHeaders of a mapping: one value a name.
fields_of: Callable[[Mapping[str, str]], HTTPHeaders] = Fields if _known() else HTTPHeaders
