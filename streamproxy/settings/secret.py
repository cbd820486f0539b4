"""The secret that signs bearers: the configured one, or one made once and kept in the data folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from streamproxy.errors import ConfigurationError
from streamproxy.settings.fields import SHORTEST_SECRET
from streamproxy.settings.model import Settings

# 48 random bytes are 64 URL-safe characters.
_RANDOM_BYTES = 48


def auth_secret(settings: Settings) -> bytes:
    """The signing secret, at least 32 bytes; the same for all workers, whoever of them asks first.

    ConfigurationError when it can neither be read nor made.
    """
    if settings.auth.secret is not None:
        return settings.auth.secret.get_secret_value().encode()
    path = settings.server.data_dir / "secret"
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes().strip()
    except OSError as exc:
        remedy = "make the folder writable or set STREAMPROXY_AUTH__SECRET"
        raise ConfigurationError(f"the secret in {path} cannot be kept: {exc.strerror}; {remedy}") from exc
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(
            f"the secret in {path} is shorter than {SHORTEST_SECRET} bytes; remove the file to get a new one"
        )
    return secret


def _make(path: Path) -> None:
    """Write a new secret whole or not at all: linking fails where another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".secret-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_RANDOM_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
