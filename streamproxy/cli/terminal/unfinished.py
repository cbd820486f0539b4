"""Which answer of a session a terminal was reading when it was closed: its stream's id in a file, and no text."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from streamproxy.domain.streamlog import checked_stream_id


class Unfinished:
    """The note for *session_id* at *url*, under ``$XDG_STATE_HOME/streamproxy`` (``~/.local/state``)."""

    def __init__(self, url: str, session_id: str) -> None:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        name = hashlib.sha256(f"{url}\n{session_id}".encode()).hexdigest()[:32]
        self._path = base / "streamproxy" / name

    def read(self) -> str | None:
        """The id of the stream; None when the last answer was read to its end."""
        try:
            return checked_stream_id(self._path.read_text().strip())
        except OSError:
            return None

    def write(self, stream_id: str) -> None:
        # A folder that cannot be written costs the resume after a crash, and nothing else.
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(stream_id)
        except OSError:
            return

    def remove(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return
