"""Which addresses a webhook may have, by their text and by what they resolve to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from cases.outbound import AddressRefused, OutboundRules, address_check, networks_of, target_of

RULES = OutboundRules()

INSIDE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_a_network_is_refused(text: str) -> None:
    with pytest.raises(AddressRefused):
        address_check(ip_address(text), RULES)


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_public_address_is_called(text: str) -> None:
    address_check(ip_address(text), RULES)


def test_an_allowed_network_is_called_and_no_other() -> None:
    rules = OutboundRules(allowed=networks_of(["10.1.0.0/16", "fd00:1::/32"]))
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        address_check(ip_address(text), rules)
    for text in ("10.2.0.1", "::ffff:10.2.0.1", "fd00:2::5", "127.0.0.1"):
        with pytest.raises(AddressRefused):
            address_check(ip_address(text), rules)


REFUSED = [
    "",
    "example.org",
    "ftp://example.org/",
    "http://example.org/",
    "https://",
    "https:///path",
    "https://user@example.org/",
    "https://user:password@example.org/",
    "https://@example.org/",
    "https://example.org/#part",
    "https://example.org/#",
    "https://example.org:22/",
    "https://example.org:0/",
    "https://example.org:99999/",
    "https://example.org:x/",
    "https://exa mple.org/",
    "https://example.org/a\nb",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/\x00",
    "https://bücher.example/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://127.1/",
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://-a.example.org/",
    "https://a..b/",
    "https://" + "a" * 64 + ".org/",
    "https://example.org/" + "a" * 500,
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_address_to_call_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        target_of(url, RULES)


def test_an_address_is_read_into_its_parts() -> None:
    target = target_of("https://Hooks.Example.org.:8443/a/b?c=%20d", RULES)
    assert (target.scheme, target.host, target.port, target.path) == (
        "https",
        "hooks.example.org",
        8443,
        "/a/b?c=%20d",
    )
    assert target_of("https://8.8.8.8", RULES).path == "/"


def test_http_and_other_ports_are_called_where_the_settings_say_so() -> None:
    rules = OutboundRules(
        allowed=networks_of(["127.0.0.0/8"]), http=True, ports=frozenset({80, 9000})
    )
    assert target_of("http://example.org/", rules).port == 80
    assert target_of("http://127.0.0.1:9000/", rules).host == "127.0.0.1"
    with pytest.raises(AddressRefused):
        target_of("https://example.org/", rules)
