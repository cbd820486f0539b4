"""What an account may be called, and the ids that we give out."""

from __future__ import annotations

import secrets
import unicodedata

from streamproxy.domain.ports import User
from streamproxy.errors import BadRequestError, ConflictError

LONGEST_NAME = 64
LONGEST_LABEL = 64
# RFC 5321, 4.5.3.1.3: a path is at most 256 octets with its angle brackets.
LONGEST_EMAIL = 254
LONGEST_OPENID = 128
# 12 random bytes are 16 url-safe characters: 96 bits, so that ids of all accounts ever are distinct.
_ID_BYTES = 12


def new_user_id() -> str:
    return "u_" + secrets.token_urlsafe(_ID_BYTES)


def new_guest_id() -> str:
    return "g_" + secrets.token_urlsafe(_ID_BYTES)


def new_api_token_id() -> str:
    return "t_" + secrets.token_urlsafe(_ID_BYTES)


def checked_name(text: str) -> str:
    """*text* in Unicode's composed form (NFC), so that a name is one name on every keyboard."""
    return _printable(unicodedata.normalize("NFC", text), "name", most=LONGEST_NAME)


def checked_label(text: str) -> str:
    return _printable(text, "label", most=LONGEST_LABEL) if text else ""


def checked_openid(text: str) -> str:
    return _printable(text, "openid", most=LONGEST_OPENID)


def checked_email(text: str) -> str:
    """An address is proved by a mail that arrives, not by a pattern: only what can never be one is refused."""
    local, _, domain = _printable(text, "email", most=LONGEST_EMAIL).rpartition("@")
    if not local or not domain or " " in text:
        raise BadRequestError("email must look like name@example.org", param="email")
    return text


def checked_questions(count: int) -> int:
    if not 0 <= count < 2**31:
        raise BadRequestError("questions must be 0 or more, and below 2147483648", param="questions")
    return count


def active(user: User) -> User:
    """*user*, when a credential for it would work; ConflictError otherwise."""
    if user.disabled:
        raise ConflictError(f"{user.name} is disabled: a credential would not work.", code="user_disabled")
    return user


def _printable(text: str, param: str, *, most: int) -> str:
    # str.isprintable knows no control, format, surrogate, private or unassigned characters, nor any
    # blank but the space: nothing that hides in a log line or reverses it.
    if not 1 <= len(text) <= most or not text.isprintable() or text != text.strip():
        raise BadRequestError(f"{param} must be 1 to {most} printable characters without blanks around it", param=param)
    return text
