"""What a client orders."""

from __future__ import annotations

from msgspec.structs import replace

from streamproxy.domain.identity import Principal, Role
from streamproxy.services.order import Order
from streamproxy.wire.chat import new_request


def test_neither_a_callers_own_key_nor_what_is_said_is_in_the_text_of_an_order() -> None:
    """It may come into a log with whatever goes wrong."""
    request = new_request("m", [{"role": "user", "content": "a secret"}])
    order = Order(Principal("u_1", "ada", Role.USER, "bearer", "jti"), request, "req_1", "st_1", "/v1/chat/completions")
    told = repr(replace(order, own_key="sk-theirs"))
    assert "st_1" in told
    assert "sk-theirs" not in told
    assert "a secret" not in told
