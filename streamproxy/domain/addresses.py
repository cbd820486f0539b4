"""Which addresses an upstream may have: a rule against calls that somebody else aims at our own network.

Why: base URLs come from settings and from admins only, yet a name in one resolves to what its owner wants,
today or tomorrow. A public name must therefore lead to a public address, over TLS. What is meant to be
private says so in its URL (``http://127.0.0.1:11434``, ``http://ollama:11434``, a 10.x address), and models on
the operator's own machines work without a setting; a public-looking name with a private address needs
``allow_private``. Link-local and cloud metadata addresses are refused in any case: no model lives there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address

# Names that never leave a network of its own: RFC 6761, RFC 6762, RFC 8375, ICANN's reservation of .internal.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")
# Where clouds tell a machine its secrets, outside the link-local ranges: AWS over IPv6, Alibaba, Oracle.
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
# RFC 6052: addresses behind a translator carry an IPv4 address in their last four bytes.
_NAT64 = ip_network("64:ff9b::/96")


def is_allowed(address: str, *, private: bool) -> bool:
    """Whether a connection to *address* (as the kernel gets it) may be made; *private*: also into private ranges."""
    try:
        final = _embedded(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if final.is_link_local or final.is_multicast or final.is_unspecified or final in _METADATA:
        return False
    return private or final.is_global


def is_named_private(base_url: str) -> bool:
    """Whether *base_url* says by itself that it leads into a private network."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    try:
        address = _embedded(ip_address(host))
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return is_allowed(host, private=True) and not address.is_global


def _embedded(address: Address) -> Address:
    """The IPv4 address that *address* really leads to, where it is an IPv6 spelling of one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
