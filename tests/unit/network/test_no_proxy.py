"""What no_proxy excepts: names, domains, addresses, ranges of both kinds, ports."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.network.no_proxy import is_excepted


@pytest.mark.parametrize(
    ("entries", "inside", "outside"),
    [
        ("*", ["otlp.example", "10.0.0.1", "[::1]"], []),
        ("example.com", ["example.com", "a.b.example.com", "EXAMPLE.com."], ["anexample.com", "com"]),
        (".example.com", ["example.com", "a.example.com"], ["anexample.com"]),
        ("*.example.com", ["a.example.com"], ["example.org"]),
        ("a.example, b.example", ["a.example", "b.example"], ["c.example"]),
        ("a.example b.example\tc.example", ["a.example", "b.example", "c.example"], ["d.example"]),
        ("10.1.2.3", ["10.1.2.3", "::ffff:10.1.2.3"], ["10.1.2.4", "10.1.2.30"]),
        ("10.0.0.0/8", ["10.255.0.1"], ["11.0.0.1", "ten.example", "10.example"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["11.0.0.1"]),
        ("172.16.0.0/12,192.168.0.0/16", ["172.31.1.1", "192.168.7.7"], ["172.32.0.1", "192.169.0.1"]),
        ("fd00::/8", ["fd12::1", "[fd12::1]", "fd12::1%eth0"], ["fe80::1", "10.0.0.1"]),
        ("[fd00::]/8", ["fd12::1"], ["fe80::1"]),
        ("::1", ["[::1]", "::1"], ["::2"]),
        ("[::1]", ["::1"], ["::2"]),
        ("localhost", ["localhost"], ["127.0.0.1"]),
        ("0.0.0.0/0", ["8.8.8.8"], ["::1", "dns.example"]),
        ("", [], ["localhost"]),
        (",, ,", [], ["localhost"]),
        (".", [], ["localhost"]),
        ("10.0.0.0/99, host:port, [::zz, a/b/c, :80, 1.2.3.4.5", [], ["10.0.0.1", "host", "::1", "a"]),
    ],
)
def test_an_entry_excepts_what_it_names_and_nothing_else(
    entries: str, inside: list[str], outside: list[str]
) -> None:
    assert [host for host in inside if not is_excepted(entries, host, 4318)] == []
    assert [host for host in outside if is_excepted(entries, host, 4318)] == []


@pytest.mark.parametrize("entry", ["otlp.example", ".example", "10.1.0.0/16", "10.1.2.3", "[fd00::1]", "*"])
def test_an_entry_with_a_port_is_for_that_port(entry: str) -> None:
    host = {"1": "10.1.2.3", "[": "fd00::1"}.get(entry[0], "otlp.example")
    assert is_excepted(f"{entry}:4318", host, 4318)
    assert not is_excepted(f"{entry}:4318", host, 4317)


@given(st.ip_addresses(), st.data())
def test_an_address_is_excepted_by_every_range_that_it_is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    bits = data.draw(st.integers(0, address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    assert is_excepted(f"other.example,{network}", str(address), 443)


@given(st.text(max_size=40), st.text(max_size=40), st.integers(1, 65_535))
def test_nothing_that_is_written_there_is_an_error(entries: str, host: str, port: int) -> None:
    is_excepted(entries, host, port)
