"""The systems we replace, one module each: the setting ``compat.endpoints`` says which are served.

``POST /token`` belongs to two of them: ``token`` tells their requests apart.
"""

from __future__ import annotations

from collections.abc import Collection

from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat import chatapi, message, pro, simple_chat, token

MODULES = {"message": message, "chatapi": chatapi, "simple_chat": simple_chat, "pro": pro}


def routes(families: Collection[str]) -> list[tuple[str, type[BaseHandler]]]:
    """Path patterns of these *families*, and who answers there."""
    found = [route for family, module in MODULES.items() if family in families for route in module.ROUTES]
    return found + (token.ROUTES if token.SHAPES.keys() & set(families) else [])
