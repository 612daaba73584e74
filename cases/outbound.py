"""Which addresses this service may call by itself: whoever names one must not make it call inside.

Pure: no settings, no ORM, no network. The text of an address is checked when it is given, and each
IP address it stands for once more when it is called (`worker.webhook_transport`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 500
_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_-]{1,63})*")
# Prefixes of IPv6 that carry an IPv4 address for a translator or tunnel to unwrap: NAT64
# (RFC 6052, RFC 8215), 6to4 and Teredo, and the old "IPv4-compatible" ones. `is_global` does not
# look at what is inside.
_TUNNELS = tuple(
    IPv6Network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
# Addresses that are global by the registries but belong to a hosting platform's own machinery, and
# the relays of 6to4.
_MACHINERY = tuple(ip_network(text) for text in ("168.63.129.16/32", "192.88.99.0/24"))


class AddressRefused(ValueError):
    """An address that may not be called. The message is a sentence for people."""


@dataclass(frozen=True)
class OutboundRules:
    """What the operator allows beyond public https addresses."""

    allowed: tuple[Network, ...] = ()
    http: bool = False
    ports: frozenset[int] = frozenset({443, 8443})


@dataclass(frozen=True)
class Target:
    """A checked address in its parts. ``path`` holds the query too."""

    scheme: str
    host: str
    port: int
    path: str


def target_of(url: str, rules: OutboundRules) -> Target:
    """The parts of ``url``. Raises ``AddressRefused`` for one that may not be called.

    A host that is an IP address is checked here already; a name is when it is resolved.
    """
    # What parsers drop or read differently is refused, so that all read the same.
    if not url.isascii() or any(c <= " " or c in '\\\x7f"<>^`{|}' for c in url):
        raise AddressRefused("Give an address of plain characters; write others as %XX.")
    if len(url) > MAX_URL:
        raise AddressRefused(f"Give an address of up to {MAX_URL} characters.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower().removesuffix("."), parts.port
    except ValueError:
        raise AddressRefused("This is not an address.") from None
    if parts.scheme not in ("https", "http") or not host:
        raise AddressRefused("Give an address that starts with https://.")
    if parts.scheme == "http" and not rules.http:
        raise AddressRefused("Only https:// is called: what is sent must not be read on its way.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("No user name or password in the address: each message is signed.")
    if parts.fragment or url.endswith("#"):
        raise AddressRefused("Leave out what stands after #: it is never sent.")
    number = port if port is not None else {"https": 443, "http": 80}[parts.scheme]
    if number not in rules.ports:
        ports = ", ".join(str(n) for n in sorted(rules.ports))
        raise AddressRefused(f"Port {number} is not called; the ports allowed are {ports}.")
    _check_host(host, rules)
    path = parts.path or "/"
    return Target(parts.scheme, host, number, f"{path}?{parts.query}" if parts.query else path)


def _check_host(host: str, rules: OutboundRules) -> None:
    literal = _literal(host)
    if literal is not None:
        address_check(literal, rules)
    elif not _HOST.fullmatch(host):
        raise AddressRefused("This is not the name of a host.")
    elif host.rpartition(".")[2].isdigit() or host.startswith("0x"):
        # 127.1, 2130706433, 0177.0.0.1: resolvers take them for IP addresses.
        raise AddressRefused("Write an IP address with its four numbers in full.")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def address_check(address: Address, rules: OutboundRules) -> None:
    """Raise ``AddressRefused`` unless ``address`` is public or explicitly allowed.

    IPv4 inside IPv6 (mapped) counts as the IPv4 it is.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise AddressRefused(f"{address} is an address of a local network.")
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    if any(address.version == net.version and address in net for net in rules.allowed):
        return
    if not address.is_global or address.is_multicast or _is_special(address):
        raise AddressRefused(
            f"{address} is an address inside this or another network, and is not called."
        )


def _is_special(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address.is_site_local or any(address in net for net in _TUNNELS)
    ):
        return True
    return address.is_reserved or any(
        address.version == net.version and address in net for net in _MACHINERY
    )


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """CIDR texts as networks. Raises ``ValueError`` for one that is none (host bits set)."""
    return tuple(ip_network(text.strip()) for text in texts if text.strip())
