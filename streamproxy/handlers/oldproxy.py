"""Notices a proxy in front that speaks HTTP/1.0, as nginx does unless it is told otherwise.

Over 1.0 it keeps the answer until it is complete, and an answer that broke off looks complete: the two complaints
that no test of this server alone can show. So the log says it, once a worker, with the remedy.
"""

from __future__ import annotations

import logging

from tornado.httputil import HTTPServerRequest

log = logging.getLogger(__name__)

_FORWARDED = ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via")


class OldProxyCheck:
    """One worker's."""

    def __init__(self) -> None:
        self._said = False

    def look(self, request: HTTPServerRequest) -> None:
        """Warn at the first request that needs it. A client of its own may speak 1.0 if it likes."""
        if self._said or request.version != "HTTP/1.0":
            return
        if any(name in request.headers for name in _FORWARDED):
            self._said = True
            log.warning(
                "the proxy in front speaks HTTP/1.0: answers arrive in one piece, and one that broke off looks "
                'complete; in nginx set: proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'
            )
