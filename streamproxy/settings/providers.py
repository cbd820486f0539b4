"""The upstreams that the settings name, as values of ``domain``."""

from __future__ import annotations

from streamproxy.domain.keypool import Key, Upstream, key_id
from streamproxy.domain.limits import LimitPolicy, parse_limits
from streamproxy.domain.ports import StoredUpstream
from streamproxy.settings.model import Settings
from streamproxy.settings.secret import auth_secret
from streamproxy.settings.upstreams import UpstreamEntry


def configured_upstreams(settings: Settings) -> list[StoredUpstream]:
    """Those that are configured, with their keys; none means: the demo model."""
    return [upstream_of(entry) for entry in settings.all_upstreams]


def spare_upstream(settings: Settings) -> StoredUpstream:
    """The default upstream, configured or not: a key that is added to it is all it needs."""
    return upstream_of(settings.default_upstream)


def upstream_of(entry: UpstreamEntry) -> StoredUpstream:
    secrets = [key.get_secret_value() for key in entry.api_keys]
    upstream = Upstream(
        name=entry.name,
        dialect=entry.dialect,
        base_url=entry.base_url,
        models=entry.models,
        keys=tuple(Key(key_id(entry.name, secret), secret) for secret in secrets),
        priority=entry.priority,
        weight=entry.weight,
        quirks=entry.quirks,
        allow_private=entry.may_be_private(entry.base_url),
    )
    limits = LimitPolicy(parse_limits(entry.key_requests), parse_limits(entry.key_tokens), entry.key_streams)
    return StoredUpstream(upstream, limits)


def encryption_secret(settings: Settings) -> bytes:
    """What provider keys in the database are encrypted under; ConfigurationError when it cannot be read."""
    chosen = settings.auth.encryption_key
    return auth_secret(settings) if chosen is None else chosen.get_secret_value().encode()
