"""What the admin API takes and shows, as structs: the one place that both the handlers and the OpenAPI document read.

Whatever bytes come in, ``parse`` returns the struct or raises a BadRequestError that names the field at fault.
Fields nobody knows are refused: a misspelt ``"disbled": true`` must not look like success.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streamproxy.errors import BadRequestError

# Formats of our own: what the annotation ``format`` means is told in the document's description.
Name = Annotated[str, Meta(min_length=1, max_length=64, extra_json_schema={"format": "trimmed-line"})]
Label = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "trimmed-line"})]
OpenId = Annotated[str, Meta(min_length=1, max_length=128, extra_json_schema={"format": "trimmed-line"})]
Email = Annotated[str, Meta(min_length=3, max_length=254, extra_json_schema={"format": "address"})]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Secret = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]
LimitsText = Annotated[str, Meta(max_length=256, extra_json_schema={"format": "limits"})]
Weight = Annotated[int, Meta(ge=1, le=1000)]
Streams = Annotated[int, Meta(ge=0, le=100_000)]
Questions = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Days = Annotated[int, Meta(ge=1, le=3650)]
RoleName = Literal["user", "admin"]
T = TypeVar("T", bound=Struct)


class NewUser(Struct, kw_only=True, forbid_unknown_fields=True):
    """A new account. Without a password it is used with bearers and API tokens, not for signing in."""

    name: Name
    password: Password | None = None
    role: RoleName = "user"
    openid: OpenId | None = None
    email: Email | None = None
    questions: Questions | None = None


class UserPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change; a field that is not there stays. ``questions: null`` allows any number."""

    disabled: bool | UnsetType = UNSET
    role: RoleName | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    questions: Questions | UnsetType | None = UNSET


class NewApiToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """An API token for the account *user_id*."""

    user_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    label: Label = ""


class NewBearer(Struct, kw_only=True, forbid_unknown_fields=True):
    """A bearer; without *days* it lives as long as the settings say."""

    days: Days | None = None


class NewKey(Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider credential for the upstream of that name, with a share of its calls and limits of its own."""

    upstream: str
    key: Secret
    weight: Weight = 1
    requests: LimitsText | None = None
    tokens: LimitsText | None = None
    streams: Streams | None = None


class KeyPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Takes a key out of use or back into it."""

    disabled: bool


class UserView(Struct, kw_only=True, tag_field="object", tag="user"):
    """An account. *questions* is null for any number; *created* is in epoch seconds."""

    id: str
    name: str
    role: RoleName
    disabled: bool
    openid: str | None
    email: str | None
    questions: int | None
    has_password: bool
    created: float


class ApiTokenView(Struct, kw_only=True, tag_field="object", tag="api_token"):
    """An API token as it is kept: nobody can read it again."""

    id: str
    user_id: str
    user_name: str
    label: str
    last4: str
    revoked: bool
    created: float


class IssuedApiTokenView(ApiTokenView, kw_only=True, tag_field="object", tag="api_token"):
    """A new API token. *token* is shown this once."""

    token: str


class BearerView(Struct, kw_only=True, tag_field="object", tag="bearer"):
    """A new bearer, shown this once."""

    user_id: str
    bearer: str


class RevokedBearersView(Struct, kw_only=True, tag_field="object", tag="bearers.revoked"):
    """How many bearers of a user were revoked."""

    user_id: str
    revoked: int


class UsageView(Struct, kw_only=True, tag_field="object", tag="usage"):
    """What a user consumed of one model in one UTC day. *user_name* is null for guests; money is in USD."""

    id: str
    day: str
    user_id: str
    user_name: str | None
    model: str
    streams: int
    prompt_tokens: int
    completion_tokens: int
    estimated_streams: int
    cost_usd: str


class FailureView(Struct, kw_only=True, tag_field="object", tag="failure"):
    """A stream that ended with an error. *key_last4* is empty when no key was used; *created* is in epoch seconds."""

    id: str
    request_id: str
    created: float
    user_id: str
    user_name: str | None
    model: str
    endpoint: str
    upstream: str
    key_last4: str
    attempts: int
    end_reason: str
    error_code: str


class LimitsView(Struct, kw_only=True, tag_field="object", tag="limits"):
    """The limits of each user, as settings spell them: empty text and 0 mean none."""

    requests: str
    tokens: str
    streams: int
    timezone: str
    on_redis_down: str


class StreamView(Struct, kw_only=True, tag_field="object", tag="stream"):
    """A running stream. *worker* names the process that has it; *age* is in seconds."""

    id: str
    request_id: str
    user_id: str
    user_name: str
    model: str
    endpoint: str
    worker: str
    age: float


class CancelledView(Struct, kw_only=True, tag_field="object", tag="stream.cancelled"):
    """The stream ends: at once on this worker, within two seconds on another."""

    id: str
    worker: str


class KeyView(Struct, kw_only=True, tag_field="object", tag="key"):
    """A provider credential, by its last four characters.

    *held*: a person took it out of use. *until* is when a cool-down or parking ends, null where nothing ends by
    itself; *reason* is a code of ours, *message* the provider's words. *requests* and *errors* count its calls.
    """

    id: str
    upstream: str
    last4: str
    source: Literal["settings", "added"]
    state: Literal["healthy", "cooling", "parked", "disabled"]
    held: bool
    until: float | None
    reason: str
    message: str
    requests: int
    errors: int
    last_error: str


class ProbeView(Struct, kw_only=True, tag_field="object", tag="key.probe"):
    """What a key's provider said just now: *fault* is null when the key works, else a code of ours."""

    id: str
    fault: str | None


_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)


def parse(body: bytes, kind: type[T]) -> T:
    """Read the JSON *body* as a *kind*."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise _at_fault(str(exc)) from None
    except RecursionError:
        raise BadRequestError("The body is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequestError("The body is not valid JSON") from None


def _at_fault(message: str) -> BadRequestError:
    """msgspec's message says where; clients read it in ``param``."""
    found = _AT.search(message) or _UNKNOWN.search(message)
    param = found[1] if found else None
    if not param and (missing := re.search(r"missing required field `(.*)`", message)):
        param = missing[1]
    return BadRequestError(_AT.sub("", message), param=param or None)
