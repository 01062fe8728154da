"""Which proxy an address is asked through: every spelling of the variables, as curl reads them."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import SettingsError
from otel_bridge.network.proxy import proxy_for, proxy_variable, through_proxy

A, B = "http://a.example:3128", "http://b.example:3128"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "plain", "tls"),
    [
        ({}, None, None),
        ({"http_proxy": A}, "a.example:3128", None),
        ({"HTTP_PROXY": A}, "a.example:3128", None),
        ({"https_proxy": A}, None, "a.example:3128"),
        ({"HTTPS_PROXY": A}, None, "a.example:3128"),
        ({"all_proxy": A}, "a.example:3128", "a.example:3128"),
        ({"ALL_PROXY": A, "HTTPS_PROXY": B}, "a.example:3128", "b.example:3128"),
        ({"https_proxy": A, "HTTPS_PROXY": B}, None, "a.example:3128"),
        ({"https_proxy": "", "HTTPS_PROXY": B}, None, None),
        ({"https_proxy": "proxy.example"}, None, "proxy.example:80"),
        ({"https_proxy": "https://[::1]"}, None, "[::1]:443"),
        ({"https_proxy": "socks5://proxy.example"}, None, "proxy.example:1080"),
    ],
)
def test_each_kind_of_address_has_its_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], plain: str | None, tls: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for url, expected in (("http://otlp.example:4317", plain), ("https://otlp.example", tls)):
        proxy = proxy_for(url)
        assert (proxy and proxy.where) == expected


@pytest.mark.parametrize(
    ("variables", "plain", "tls"),
    [
        ({}, "HTTP_PROXY", "HTTPS_PROXY"),
        ({"https_proxy": A}, "HTTP_PROXY", "https_proxy"),
        ({"ALL_PROXY": A}, "ALL_PROXY", "ALL_PROXY"),
        ({"HTTPS_PROXY": "no address"}, "HTTP_PROXY", "HTTPS_PROXY"),
    ],
)
def test_the_variable_to_mend_is_the_one_that_counts(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], plain: str, tls: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_variable("http://otlp.example:4317") == plain
    assert proxy_variable("https://otlp.example") == tls


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    "value", ["otlp.example", ".example", "*", "other, otlp.example", "otlp.example:443"]
)
def test_exceptions_are_taken_in_either_spelling(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("https_proxy", A)
    monkeypatch.setenv(name, value)
    assert proxy_for("https://otlp.example") is None
    assert (proxy_for("https://otlp.elsewhere") is None) == (value == "*")


def test_the_user_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter%402@a.example:3128")
    proxy = proxy_for("https://otlp.example")
    assert proxy is not None
    assert proxy.authorization == "Basic bWU6aHVudGVyQDI="
    assert proxy.url == "http://me:hunter%402@a.example:3128"
    for shown in (repr(proxy), proxy.where, proxy.through, through_proxy("https://otlp.example")):
        assert "hunter" not in shown
    assert through_proxy("https://otlp.example") == " through the proxy a.example:3128"
    assert through_proxy("http://otlp.example") == ""


@pytest.mark.parametrize("scheme", ["", "http://"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "it names no host"),
        ("me:hunter2@", "it names no host"),
        (":3128", "it names no host"),
        ("a%zz", "it names no host"),
        ("[::1", "it names no host"),
        ("me:hunter2@a.example:99999", "a port is a number from 1 to 65535"),
        ("a.example:0", "a port is a number from 1 to 65535"),
        ("a.example:-1", "a port is a number from 1 to 65535"),
        ("a.example:hunter2", "a port is a number from 1 to 65535"),
        ("me:hunt#er2@a.example", "user and password take %23"),
        ("me:hunt?er2@a.example", "user and password take %23"),
        ("me:hunt/er2@a.example", "user and password take %23"),
        ("me:hunt er2@a.example", "it holds white space"),
        ("a.example:3128\x00", "it holds white space"),
    ],
)
def test_what_is_no_address_is_told_by_its_variable_without_its_value(
    monkeypatch: pytest.MonkeyPatch, scheme: str, value: str, why: str
) -> None:
    if not scheme + value:
        return  # unset
    monkeypatch.setattr("otel_bridge.network.proxy.getproxies", lambda: {"all": scheme + value})
    monkeypatch.setenv("ALL_PROXY", "as above")
    with pytest.raises(SettingsError, match=r"^ALL_PROXY in the environment can't be used \(") as caught:
        proxy_for("https://otlp.example")
    assert why in str(caught.value)
    assert "hunt" not in str(caught.value)
    assert through_proxy("https://otlp.example") == " through a proxy"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks://a.example", "socks:// is unknown"),
        ("socks4://me:hunter2@a.example", "socks4:// is unknown"),
        ("ftp://a.example", "ftp:// is unknown"),
        ("me:hunter2@://a.example", "what it begins with is unknown"),
    ],
)
def test_a_kind_of_proxy_that_is_not_known_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    monkeypatch.setenv("all_proxy", value)
    with pytest.raises(SettingsError, match=r"socks5://proxy\.example:1080") as caught:
        proxy_for("https://otlp.example")
    assert why in str(caught.value)
    assert "hunt" not in str(caught.value)


@pytest.mark.parametrize("value", ["http://bücher.example:1", "http://a_b.example:1/", "http://10.0.0.1:1/x"])
def test_what_others_take_is_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("all_proxy", value)
    proxy = proxy_for("https://otlp.example")
    assert proxy is not None
    assert proxy.port == 1
    assert proxy.where.isascii()


@given(st.text(max_size=60))
def test_no_value_of_the_variable_is_any_other_error(value: str) -> None:
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.suppress(SettingsError),
    ):
        patched.setattr("otel_bridge.network.proxy.getproxies", lambda: {"all": value})
        proxy = proxy_for("https://otlp.example")
        assert proxy is None or 0 < proxy.port < 65_536
