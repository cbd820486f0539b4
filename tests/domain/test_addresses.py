"""Where upstreams may be: the rule of domain.addresses, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.addresses import is_allowed, is_named_private

PUBLIC = ("1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1")
PRIVATE = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::",
)  # fmt: skip
NOWHERE = (
    "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "0.0.0.0", "::", "::ffff:0.0.0.0",
    "224.0.0.1", "ff02::1", "not an address", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_for_every_upstream(address: str) -> None:
    assert is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_for_private_upstreams(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", NOWHERE)
def test_some_addresses_are_for_nobody(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert not is_allowed(address, private=True)


@given(st.ip_addresses())
def test_what_a_public_upstream_may_reach_a_private_one_may_too(address: object) -> None:
    assert is_allowed(str(address), private=True) or not is_allowed(str(address), private=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.7", "localhost", "LOCALHOST", "localhost.", "ollama",
        "models.localhost", "box.local", "llm.internal", "nas.home.arpa", "[::ffff:127.0.0.1]", "[fd12::1]",
    ],
)  # fmt: skip
def test_a_url_that_names_a_private_host_means_it(host: str) -> None:
    assert is_named_private(f"http://{host}:11434/v1")


@pytest.mark.parametrize(
    "host",
    [
        "api.openai.com", "1.1.1.1", "169.254.169.254", "[fe80::1]", "0.0.0.0", "localhost.example.com", "[::]",
        "127.0.0.1.example.com", "notlocal", "evil.xlocal",
    ],
)  # fmt: skip
def test_any_other_url_does_not(host: str) -> None:
    assert is_named_private(f"http://{host}/v1") is (host == "notlocal")
