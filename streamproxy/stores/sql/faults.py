"""What SQL drivers raise, in our words. The only place that knows.

A driver's text never reaches a client: it may quote values. It stays in ``__cause__`` for the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from streamproxy.errors import BadRequestError, ConflictError, StoreUnavailableError

# https://www.postgresql.org/docs/current/errcodes-appendix.html: 22 data exception, 54 program limit
# exceeded. These depend on the value alone, so trying again cannot help.
_REFUSED_CLASSES = ("22", "54")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Run driver calls: ConflictError for a broken constraint, BadRequestError for a value that can
    never be stored, StoreUnavailableError for everything that another try may cure."""
    try:
        yield
    except IntegrityError as exc:
        raise ConflictError("This record is at odds with one that is already there.") from exc
    except DBAPIError as exc:
        if _refuses_value(exc):
            raise _refused() from exc
        raise StoreUnavailableError("The database does not answer; try again later.") from exc
    except (PoolTimeoutError, OSError) as exc:
        # asyncpg lets OSError through when it cannot connect, and TimeoutError, an OSError, when it waits.
        raise StoreUnavailableError("The database does not answer; try again later.") from exc
    except (OverflowError, UnicodeError) as exc:
        # sqlite3 raises these bare: an integer beyond 64 bits, a lone surrogate.
        raise _refused() from exc


def _refuses_value(exc: DBAPIError) -> bool:
    code = str(getattr(exc.orig, "pgcode", None) or "")
    # asyncpg checks values before it sends them; its own error is then also a ValueError.
    by_client = isinstance(getattr(exc.orig, "__cause__", None), ValueError)
    return isinstance(exc, DataError) or by_client or code.startswith(_REFUSED_CLASSES)


def _refused() -> BadRequestError:
    return BadRequestError("The database cannot hold one of these values.", code="value_not_storable")
