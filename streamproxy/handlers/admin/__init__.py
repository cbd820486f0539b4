"""The admin API: what the commands do, over HTTP, for principals with the role admin.

Each file calls the services that the commands call. Lists come in pages: ``?limit=&after=`` and
``{"object": "list", "data": [...], "has_more": ..., "last_id": ...}``.
"""

from __future__ import annotations

from streamproxy.handlers.admin import failures, keys, streams, tokens, usage, users

ROUTES = [*users.ROUTES, *tokens.ROUTES, *keys.ROUTES, *usage.ROUTES, *streams.ROUTES, *failures.ROUTES]
