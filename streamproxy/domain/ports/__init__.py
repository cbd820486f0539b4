"""What the services ask of the outside, each Protocol as small as its use, by noun.

The stores fill these; ``app`` introduces them to the services, which never import a store.
Every method translates its driver's failures: callers see only ``streamproxy.errors``, and
``StoreUnavailableError`` means that nothing is known about whether the step took place
(each step may be repeated: all of them are idempotent by the id they carry).
"""

from streamproxy.domain.ports.health import Pingable
from streamproxy.domain.ports.keys import KeyCalls, KeyStates, KeyStore, StoredKey, StoredUpstream, UpstreamStore
from streamproxy.domain.ports.ledger import (
    Conversations,
    Failure,
    GrantStore,
    Ledger,
    UsageReport,
    UsageSummary,
    UserUsage,
)
from streamproxy.domain.ports.limits import LimitStore
from streamproxy.domain.ports.people import (
    ApiToken,
    CredentialStore,
    KeptBearer,
    KeptBearers,
    QuestionStore,
    User,
    UserChanges,
    UserStore,
)
from streamproxy.domain.ports.sessions import SessionStore, Turnstile
from streamproxy.domain.ports.streams import StreamBoard, StreamLog
from streamproxy.domain.ports.upstream import UpstreamReply, UpstreamTransport

__all__ = [
    "ApiToken",
    "Conversations",
    "CredentialStore",
    "Failure",
    "GrantStore",
    "KeptBearer",
    "KeptBearers",
    "KeyCalls",
    "KeyStates",
    "KeyStore",
    "Ledger",
    "LimitStore",
    "Pingable",
    "QuestionStore",
    "SessionStore",
    "StoredKey",
    "StoredUpstream",
    "StreamBoard",
    "StreamLog",
    "Turnstile",
    "UpstreamReply",
    "UpstreamStore",
    "UpstreamTransport",
    "UsageReport",
    "UsageSummary",
    "User",
    "UserChanges",
    "UserStore",
    "UserUsage",
]
