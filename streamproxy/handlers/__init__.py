"""HTTP in, services called, HTTP out. Each file names its own routes; ``routes`` is all of them, in order."""

from __future__ import annotations

from collections.abc import Collection

from streamproxy.handlers import (
    account,
    admin,
    billing,
    chat,
    compat,
    conversations,
    embeddings,
    events,
    health,
    images,
    models,
    openapi,
    page,
    sessions,
    streams,
)
from streamproxy.handlers.base import BaseHandler


def routes(families: Collection[str] = tuple(compat.MODULES)) -> list[tuple[str, type[BaseHandler]]]:
    """Path patterns (regular expressions that match whole paths) and who answers there.

    *families* are the systems we replace that are served.
    """
    return [
        *chat.ROUTES,
        *images.ROUTES,
        *embeddings.ROUTES,
        *models.ROUTES,
        *streams.ROUTES,
        *events.ROUTES,
        *sessions.ROUTES,
        *conversations.ROUTES,
        *account.ROUTES,
        *billing.ROUTES,
        *admin.ROUTES,
        *compat.routes(families),
        *health.ROUTES,
        *openapi.ROUTES,
        *page.ROUTES,
    ]
