"""What SQL drivers raise, in our words. The only place that knows.

A driver's text never reaches a client: it may quote values. It stays in ``__cause__`` for the log.
"""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from streamproxy.errors import BadRequestError, ConflictError, StoreUnavailableError, StreamProxyError

# https://www.postgresql.org/docs/current/errcodes-appendix.html: 22 data exception, 54 program limit
# exceeded. These depend on the value alone, so trying again cannot help.
_REFUSED_CLASSES = ("22", "54")


class translated:  # noqa: N801 - read as what happens to the block
    """Run driver calls: ConflictError for a broken constraint, BadRequestError for a value that can
    never be stored, StoreUnavailableError for everything that another try may cure."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        word = None if fault is None else _in_our_words(fault)
        if word is not None:
            raise word from fault


def _in_our_words(fault: BaseException) -> StreamProxyError | None:
    if isinstance(fault, IntegrityError):
        return ConflictError("This record is at odds with one that is already there.")
    if isinstance(fault, DBAPIError) and not _refuses_value(fault):
        return StoreUnavailableError("The database does not answer; try again later.")
    if isinstance(fault, PoolTimeoutError | OSError):
        # asyncpg lets OSError through when it cannot connect, and TimeoutError, an OSError, when it waits.
        return StoreUnavailableError("The database does not answer; try again later.")
    if isinstance(fault, DBAPIError | OverflowError | UnicodeError):
        # sqlite3 raises the latter two bare: an integer beyond 64 bits, a lone surrogate.
        return BadRequestError("The database cannot hold one of these values.", code="value_not_storable")
    return None


def _refuses_value(exc: DBAPIError) -> bool:
    code = str(getattr(exc.orig, "pgcode", None) or "")
    # asyncpg checks values before it sends them; its own error is then also a ValueError.
    by_client = isinstance(getattr(exc.orig, "__cause__", None), ValueError)
    return isinstance(exc, DataError) or by_client or code.startswith(_REFUSED_CLASSES)
