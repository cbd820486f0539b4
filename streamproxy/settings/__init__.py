"""Settings: one frozen, typed value, read from command line, environment, file and defaults.

``load`` reads them; nothing below ``app`` sees them: every object receives the plain values it needs.
A new setting is one field, with its description, in ``process``, ``traffic`` or ``upstreams``.
"""

from __future__ import annotations

from streamproxy.settings.loading import Loaded, load
from streamproxy.settings.model import Settings
from streamproxy.settings.secret import auth_secret
from streamproxy.settings.upstreams import UpstreamEntry

__all__ = ["Loaded", "Settings", "UpstreamEntry", "auth_secret", "load"]
