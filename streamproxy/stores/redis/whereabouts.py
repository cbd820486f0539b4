"""Where the running server's embedded Redis is, for the commands that need to reach it.

States of keys change by the second and live in Redis alone: kept in SQL as well, two places would have to agree,
and every cool-down would cost a write. So the supervisor leaves the URL of its private socket in the data folder,
readable by its own user only, who may connect to the socket anyway (0700).
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

_NAME = "redis-url"


def publish(folder: Path, url: str) -> None:
    """Let commands find *url*. A folder that cannot be written to costs them the states of keys, and nobody else."""
    path = folder / _NAME
    draft = path.with_name(f".{_NAME}-{os.getpid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(url + "\n")
        draft.replace(path)
    except OSError as exc:
        log.warning("commands cannot see the states of keys: %s cannot be written (%s)", path, exc.strerror)


def withdraw(folder: Path, url: str) -> None:
    """The server at *url* is gone. Another one's whereabouts stay."""
    if find(folder) == url:
        (folder / _NAME).unlink(missing_ok=True)


def find(folder: Path) -> str | None:
    """The URL, None where no server runs (or its supervisor was killed and left nobody to ask)."""
    try:
        url = (folder / _NAME).read_text().strip()
    except OSError:
        return None
    return url if Path(url.removeprefix("unix://")).exists() else None
