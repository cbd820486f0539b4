"""What a page did that it should not: console errors, uncaught exceptions, requests to other hosts."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Request, WebError


class Witness:
    """Watches all pages of a context. *home* is the origin (``http://127.0.0.1:8888``) that may be asked.

    ``forgive`` names what a test brings about on purpose, for example the failed requests of a cut network.
    """

    def __init__(self, context: BrowserContext, home: str) -> None:
        self._home = home
        self._forgiven: list[re.Pattern[str]] = []
        self.faults: list[str] = []
        self.strange_requests: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)

    def forgive(self, pattern: str) -> None:
        """Console errors that *pattern* matches somewhere are expected, from the beginning."""
        self._forgiven.append(re.compile(pattern))

    def unforgiven(self) -> list[str]:
        """All that nobody expected."""
        faults = [fault for fault in self.faults if not any(p.search(fault) for p in self._forgiven)]
        return faults + [f"request to {url}" for url in self.strange_requests]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_error(self, error: WebError) -> None:
        self.faults.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self._home and parts.scheme not in {"data", "blob", "about"}:
            self.strange_requests.append(request.url)
