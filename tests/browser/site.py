"""A whole site: workers at a port each, the shipped nginx in front, and a network that can be cut."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.network import Network
from tests.e2e.server import Server
from tests.support.nginx import Nginx
from tests.support.upstream import ScriptedUpstream


@dataclass(frozen=True, slots=True)
class Installation:
    """What lives as long as a test module."""

    server: Server
    nginx: Nginx


@dataclass(frozen=True, slots=True)
class Site:
    """One test's view of it. The browser comes through *network*, whose port is its own in each test."""

    server: Server
    network: Network
    upstream: ScriptedUpstream

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"http://127.0.0.1:{self.network.port}"
