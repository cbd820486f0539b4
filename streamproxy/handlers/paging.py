"""Lists in pages: ``?limit=&after=`` and ``{"object": "list", "data": [...], "has_more": ..., "last_id": ...}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from streamproxy.errors import BadRequestError, NotFoundError
from streamproxy.handlers.base import BaseHandler

PAGE = 100
LONGEST_PAGE = 500

ID = r"[A-Za-z0-9_-]{1,64}"
_ID = re.compile(ID)


class Listed(Protocol):
    """What stands in lists has an id."""

    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """At most *limit*, those after the object *after*, which is empty for the first page."""

    limit: int
    after: str

    @property
    def fetch(self) -> int:
        """One more than is shown tells whether there are more."""
        return self.limit + 1


class PagedHandler(BaseHandler):
    """*fields* are the query fields that it knows; others are refused, so that a typo is seen."""

    fields: ClassVar[frozenset[str]] = frozenset()

    def check_fields(self) -> None:
        """BadRequestError for a query field that this path does not know."""
        for name, values in self.request.query_arguments.items():
            if name not in self.fields:
                raise BadRequestError("This path does not know a query field of this name.", param=name[:64])
            if len(values) > 1:
                raise BadRequestError(f"{name} is there more than once.", param=name)

    async def admit(self) -> None:
        await super().admit()
        self.check_fields()

    def field(self, name: str) -> str | None:
        """The query field *name*, None when it is not there."""
        return self.get_query_argument(name, None, strip=False)

    def id_field(self, name: str) -> str | None:
        """The query field *name*, which holds an id; BadRequestError when it can be none."""
        text = self.field(name)
        if text is not None and _ID.fullmatch(text) is None:
            raise BadRequestError(f"{name} must be 1 to 64 characters of A-Z a-z 0-9 _ -", param=name)
        return text

    def page(self) -> Page:
        """The page that is asked for; BadRequestError when no such page can be."""
        text = self.field("limit")
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 5):
            raise BadRequestError(f"limit must be an integer from 1 to {LONGEST_PAGE}", param="limit")
        limit = PAGE if text is None else int(text)
        if not 1 <= limit <= LONGEST_PAGE:
            raise BadRequestError(f"limit must be an integer from 1 to {LONGEST_PAGE}", param="limit")
        return Page(limit, self.field("after") or "")

    def write_page(self, page: Page, found: Sequence[Listed], **more: Any) -> None:
        """The first *page.limit* of *found*; *more* are fields beside the list."""
        shown = found[: page.limit]
        last = shown[-1].id if shown else None
        body = {"object": "list", "data": shown, "has_more": len(found) > len(shown), "last_id": last, **more}
        self.write_json(msgspec.json.encode(body))

    def write_view(self, view: msgspec.Struct, *, status: int = 200) -> None:
        self.write_json(msgspec.json.encode(view), status=status)


def unknown_cursor() -> NotFoundError:
    """For an *after* that names nothing."""
    return NotFoundError("after must be the last_id of an earlier page", code="cursor_not_found", param="after")
