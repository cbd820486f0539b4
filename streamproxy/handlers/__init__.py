"""HTTP in, services called, HTTP out. Each file names its own routes; ``routes`` is all of them, in order."""

from __future__ import annotations

from streamproxy.handlers import chat, health, models, page
from streamproxy.handlers.base import BaseHandler


def routes() -> list[tuple[str, type[BaseHandler]]]:
    """Path patterns (regular expressions that match whole paths) and who answers there."""
    return [*chat.ROUTES, *models.ROUTES, *health.ROUTES, *page.ROUTES]
