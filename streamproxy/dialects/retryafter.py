"""The Retry-After field, RFC 9110 section 10.2.3: seconds or an HTTP date."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

# A provider that names a longer pause than this is not believed: the key is tried again after it.
LONGEST_COOL_DOWN = 60.0


def retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds to wait, 0 to 60; None when the field is absent or unreadable.

    *date* is the answer's own Date field: the difference to it needs no clock of ours to be right.
    """
    if value is None:
        return None
    seconds = _seconds(value.strip(), date)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_COOL_DOWN)


def _seconds(value: str, date: str | None) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError):
        return None
