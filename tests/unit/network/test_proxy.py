"""Which proxy an address is asked through: every spelling of the variables, as curl reads them."""

from __future__ import annotations

import os

import pytest

from otel_bridge.errors import SettingsError
from otel_bridge.network.proxy import proxy_for, through_proxy

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


@pytest.mark.parametrize(
    "value", ["http://", "http://me:hunter2@a.example:99999", "http://a.example:0", "http://me:hunt#er2@a"]
)
def test_what_is_no_address_is_told_by_its_variable_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(SettingsError, match=r"^ALL_PROXY in the environment can't be used: takes") as caught:
        proxy_for("https://otlp.example")
    assert "hunt" not in str(caught.value)
    assert through_proxy("https://otlp.example") == " through a proxy"
