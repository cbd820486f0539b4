"""What a forger may try: RFC 8725, and what PyJWT alone would let through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError, BadRequestError, ConfigurationError, PermissionDeniedError
from streamproxy.services.auth import Authenticator
from streamproxy.services.bearers import Bearers, InvalidBearerError, Kind
from streamproxy.stores.sql.credentials import SqlCredentials
from tests.services.auth.conftest import SECRET, Clock
from tests.services.auth.test_authenticate import refusal

Forge = Callable[..., str]


@pytest.fixture
def forge(io_loop: IOLoop, credentials: SqlCredentials, bob: User, clock: Clock) -> Forge:
    """Signs with our own secret a bearer that differs from a good one only where the test says so.

    Its row is there: nothing but the named difference can be why it is refused. None drops a claim.
    """
    io_loop.run_sync(lambda: credentials.add_bearer("forged", bob.id, clock() + 1000))

    def sign(*, secret: Any = SECRET, alg: str = "HS256", typ: Any = "at+jwt", **changes: Any) -> str:
        now = int(clock())
        claims: dict[str, Any] = {"iss": "streamproxy", "aud": "streamproxy", "sub": bob.id, "jti": "forged"}
        claims |= {"iat": now, "exp": now + 100, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": alg, "typ": typ}
        signing = f"{_encoded(header)}.{_encoded(claims)}".encode()
        if alg.startswith("RS"):
            return jwt.encode(claims, secret, alg, headers={"typ": typ})
        digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg, hashlib.sha256)
        signature = b"" if alg.lower() == "none" else hmac.new(secret, signing, digest).digest()
        return f"{signing.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    return sign


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_the_forgery_without_a_fault_is_accepted(auth: Authenticator, forge: Forge) -> None:
    """Else the tests below would prove nothing."""
    assert (await auth.authenticate(f"Bearer {forge()}")).name == "bob"


@pytest.mark.parametrize(
    "fault",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"secret": b"somebody else's secret of 32 bytes"},
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"typ": "guest+jwt"},
        {"aud": "streamproxy-guest"},
        {"aud": "streamproxy-ticket"},
        {"aud": ["streamproxy", "other"]},
        {"aud": "stream"},
        {"iss": "stream"},
        {"iss": "somebody"},
        {"iss": ["streamproxy"]},
        {"exp": "9999999999"},
        {"exp": 1e12},
        {"exp": True},
        {"exp": [1]},
        {"iat": 1_800_000_100},
        {"iat": "1"},
        {"iat": False},
        {"nbf": 99_999_999_999},
        {"sub": 7},
        {"sub": "u_somebody_else"},
        {"jti": 7},
        {"jti": "never issued"},
        {"jti": "nul\x00"},
        {"jti": "lone \ud800"},
        *({name: None} for name in ("exp", "iat", "sub", "jti", "aud", "iss")),
    ],
    ids=str,
)
async def test_a_bearer_with_one_fault_is_refused(auth: Authenticator, forge: Forge, fault: dict[str, Any]) -> None:
    assert await refusal(auth, f"Bearer {forge(**fault)}") == "invalid_api_key"


async def test_a_public_key_of_another_algorithm_is_no_secret(auth: Authenticator, forge: Forge) -> None:
    """RS256 is refused, signed properly or (the RS/HS confusion) with the public key taken for an HMAC secret."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert await refusal(auth, f"Bearer {forge(alg='RS256', secret=private)}") == "invalid_api_key"
    assert await refusal(auth, f"Bearer {forge(secret=public)}") == "invalid_api_key"


async def test_an_expired_bearer_says_so(auth: Authenticator, bob: User, clock: Clock) -> None:
    bearer = await auth.issue_bearer(bob, days=1)
    clock.now += 86399
    await auth.authenticate(f"Bearer {bearer}")
    clock.now += 1
    assert await refusal(auth, f"Bearer {bearer}") == "expired_credential"


async def test_expired_and_forged_is_only_invalid(auth: Authenticator, forge: Forge) -> None:
    """A stranger learns nothing about times: 'expired' is said to those who hold a bearer of ours."""
    assert await refusal(auth, f"Bearer {forge(exp=1, secret=b'x' * 32)}") == "invalid_api_key"
    assert await refusal(auth, f"Bearer {forge(exp=1)}") == "expired_credential"


async def test_another_spelling_of_a_bearer_is_another_credential(auth: Authenticator, bob: User) -> None:
    """PyJWT takes padding for the same signature: ours is one spelling, so one place in the cache."""
    bearer = await auth.issue_bearer(bob, days=1)
    await auth.authenticate(f"Bearer {bearer}")
    assert jwt.decode(bearer + "=", SECRET, ["HS256"], audience="streamproxy", options={"verify_iat": False})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(bearer[-1]) ^ 1]
    head, payload, signature = bearer.split(".")
    others = [bearer + "=", bearer + "==", bearer[:-1] + spare, f"{head}=.{payload}.{signature}", bearer + "\u200b"]
    for other in others:
        assert await refusal(auth, f"Bearer {other}") == "invalid_api_key"


async def test_deep_json_in_a_bearer_is_refused(auth: Authenticator) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 1400).rstrip(b"=").decode()
    assert await refusal(auth, f"Bearer {deep}.e30.{'A' * 43}") == "invalid_api_key"


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_secret_is_a_fault_of_the_settings(make_auth: Callable[..., Authenticator], length: int) -> None:
    with pytest.raises(ConfigurationError, match="AUTH__SECRET") as caught:
        make_auth(secret=b"s" * length)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize("days", [0, -1, 1e9, float("nan"), float("inf")])
async def test_a_bearer_lives_for_a_bounded_time(auth: Authenticator, bob: User, days: float) -> None:
    with pytest.raises(BadRequestError) as caught:
        await auth.issue_bearer(bob, days=days)
    assert caught.value.param == "days"


async def test_a_guest_bearer_is_no_access_bearer(make_auth: Callable[..., Authenticator], forge: Forge) -> None:
    """Neither kind passes for the other, even where guests are welcome."""
    auth = make_auth(guest=True)
    assert await refusal(auth, f"Bearer {forge(typ='guest+jwt')}") == "invalid_api_key"
    faked = forge(typ="guest+jwt", aud="streamproxy-guest")
    assert await refusal(auth, f"Bearer {faked}") == "invalid_api_key"
    with pytest.raises(PermissionDeniedError):
        await make_auth().issue_guest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), character=st.characters())
def test_no_changed_character_goes_unnoticed(clock: Clock, position: int, character: str) -> None:
    """A bearer is accepted as it was issued and in no other form."""
    bearers = Bearers(SECRET, clock=clock)
    text, bearer = bearers.sign(Kind.ACCESS, "u_bob", seconds=60)
    place = position % len(text)
    changed = text[:place] + character + text[place + 1 :]
    if changed == text:
        assert bearers.read(changed) == bearer
    else:
        with pytest.raises(InvalidBearerError):
            bearers.read(changed)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(["exp", "iat", "nbf", "sub", "jti", "aud", "iss", "typ", "crit"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=3),
        max_size=3,
    )
)
def test_no_signed_claims_raise_anything_but_authentication_error(
    auth: Authenticator, forge: Forge, io_loop: IOLoop, changes: dict[str, Any]
) -> None:
    """Should the secret ever sign something odd, it is refused like anything else."""

    async def attempt() -> None:
        try:
            principal = await auth.authenticate(f"Bearer {forge(**changes)}")
        except AuthenticationError:
            return
        assert principal.credential_id == "forged"

    io_loop.run_sync(attempt)
